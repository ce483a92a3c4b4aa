"""Rows kept on local disk while the database is unavailable, and their way into it."""
