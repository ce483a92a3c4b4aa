"""Layer 0: Modbus RTU frames in hex to registers and back. No Twisted, no clock, no I/O."""
