"""Layer 0: bytes to messages and back. No Twisted, no clock, no I/O."""
