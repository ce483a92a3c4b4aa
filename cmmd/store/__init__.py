"""Floor 1: what is kept, behind the IStore interface."""
