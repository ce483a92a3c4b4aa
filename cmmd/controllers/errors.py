"""Errors in profiles of controllers."""

__all__ = ["ProfileError"]


class ProfileError(ValueError):
    """A profile, or the folder of profiles, cannot be used: one line that names the file and the key in it."""
