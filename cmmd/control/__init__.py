"""Where programs come in: AMP commands, their responder, a client."""
