"""Labeled images become a new final layer."""
