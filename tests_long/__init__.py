"""Campaigns of hours and checks of the tests themselves, which CI does not run: see "make test-long"."""
