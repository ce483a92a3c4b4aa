"""Decide from observations how one device is to be read: hypotheses, rules and counters, without clock or I/O."""
