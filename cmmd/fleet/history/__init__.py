"""Kept readings: the keep policy, the journal in front of the store, retention."""
