"""Where the time goes: profiles of models, layer by layer, online, in batches, and against each other."""
