"""Networks: reading and changing their graph, preparing their input, running them."""
