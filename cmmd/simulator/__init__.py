"""Layer 3: gensets that do not exist."""
