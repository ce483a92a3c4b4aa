"""Reasons for which a login is not taken."""

from cmmd.wire.errors import PeerError

__all__ = ["LoginImpossible", "LoginRefused"]


class LoginRefused(PeerError):
    """A login is not taken, for a reason on the device's side; ``retcode`` says which."""


class LoginImpossible(Exception):
    """A login cannot be decided or kept now, for a reason on our side; the device may try again."""
