"""Prometheus metrics of the daemon and of the gensets."""
