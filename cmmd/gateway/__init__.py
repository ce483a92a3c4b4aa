"""Layer 3: the device's side in software."""
