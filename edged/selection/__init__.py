"""Which network for this frame: features, premodels, cascades, what they reach on measured photos, and a governor."""
