"""People and Prometheus come in here: metrics, the HTTP API, the console."""
