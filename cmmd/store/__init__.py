"""Layer 1: storage behind the IStore interface."""
