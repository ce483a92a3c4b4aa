"""The device's connection to its server: login, session, uploads, commands."""
