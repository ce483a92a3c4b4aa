"""Alarms, the events that open and clear them, and the log of events."""
