"""The HTTP side: the console for people, the API for programs, metrics for Prometheus."""
