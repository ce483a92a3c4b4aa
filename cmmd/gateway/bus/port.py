"""The seam between a bus and what carries its bytes."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from cmmd.gateway.bus.line import Line

__all__ = ["Port", "PortOpener", "PortUser"]


class PortUser(Protocol):
    """Takes what a port brings."""

    def received(self, chunk: bytes) -> None:
        """Bytes came, cut anywhere."""

    def lost(self, reason: str) -> None:
        """The port can no longer be used; closing it is still due. Called once at most, and not after closing."""


class Port(Protocol):
    """A port while it is open."""

    def write(self, frame: bytes) -> None:
        """Send a frame. Whether it left is not reported; that it cannot, ``lost`` says."""

    def drop_unsent(self) -> None:
        """Forget what was written and has not left, as far as that can be done."""

    def close(self) -> Deferred[None]:
        """Close it, at once and without sending what is unsent; fires when it is closed. Twice is once."""


PortOpener = Callable[[Line, PortUser], Deferred[Port]]
"""Opens the port of a line for its user, or fails with a :exc:`cmmd.gateway.bus.outcomes.PortError`.

Cancelled, it leaves nothing open.
"""
