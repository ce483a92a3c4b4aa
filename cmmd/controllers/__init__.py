"""Profiles of controllers: the meaning of registers and coils, one TOML file a family. No Twisted, no clock."""
