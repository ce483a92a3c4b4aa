"""Modbus frames into register state, live records, and the state of a genset."""
