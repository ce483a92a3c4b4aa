"""Layer 3: the listeners that devices connect to."""
