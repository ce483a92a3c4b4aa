"""Where people, programs and Prometheus come in over HTTP."""
