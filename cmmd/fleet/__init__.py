"""Floor 2: the domain: which devices there are, who is connected, what is counted."""
