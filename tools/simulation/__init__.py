"""A fleet of simulated devices, and what it costs: `tools/fleet`."""
