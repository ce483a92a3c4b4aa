"""A simulated controller behind a pseudo-terminal, for trying a gateway out."""
