"""Counters as plain integers, histograms, and the limits of repeated log lines."""
