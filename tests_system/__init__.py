"""cmmd together with programs of others: see "make test-system"."""
