"""What a controller's registers and coils mean: profiles, one TOML file per family, no code. No Twisted, no clock."""
