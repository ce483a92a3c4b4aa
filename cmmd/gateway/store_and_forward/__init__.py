"""Readings kept on disk while the server cannot be reached, and sent afterwards."""
