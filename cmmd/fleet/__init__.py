"""Layer 2: the domain: devices, uploads, alarms, history, commands, and their counters."""
