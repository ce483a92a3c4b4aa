"""Tools over a store at rest: copies and statistics."""
