"""The control port: AMP commands, their responder, a client."""
