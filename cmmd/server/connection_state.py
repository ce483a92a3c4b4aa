"""The life of a connection from a device, as a table of states (protocol sections 1, 4 and 5).

An enum and a table instead of a machine object for each connection: there are thousands of them.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Protocol

__all__ = ["TRANSITIONS", "ConnectionActions", "Event", "Stage"]


class Stage(Enum):
    """A stage of a connection's life."""

    __hash__ = object.__hash__  # that of Enum is written in Python: 0.3 µs for each look in a table

    FRESH = auto()
    """The connection is not made yet."""
    NEW = auto()
    """Nothing has been understood yet, and it may not stay so for long."""
    REGISTERING = auto()
    """A login is being decided, the connection ends with its answer."""
    ATTACHED = auto()
    """It is the long connection of a device."""
    CLOSING = auto()
    """The last answer is on its way."""
    GONE = auto()
    """The connection has ended."""


class Event(Enum):
    """An event in a connection's life."""

    __hash__ = object.__hash__  # that of Enum is written in Python: 0.3 µs for each look in a table

    OPENED = auto()
    """The device connected."""
    LOGIN_CAME = auto()
    """A login is to be decided."""
    LOGIN_ANSWERED = auto()
    """The answer to it has been handed to the transport."""
    ATTACH = auto()
    """A message of a registered device came."""
    CLOSE = auto()
    """The server wants to close the connection."""
    LOST = auto()
    """The connection is gone."""


class ConnectionActions(Protocol):
    """The actions on a connection at an event, called in the order of the table."""

    def started_waiting(self) -> None:
        """The first message has so long to come as ``login_timeout`` says."""

    def stopped_waiting(self) -> None:
        """Stop the timer: the message arrived, or is not needed any more."""

    def joined(self) -> None:
        """The connection is the session of the device ``hostid`` from here on."""

    def left(self) -> None:
        """Leave presence: the session is detached."""

    def end(self) -> None:
        """Send what is unsent, then close."""


_S, _E = Stage, Event

TRANSITIONS: Final[Mapping[tuple[Stage, Event], tuple[Stage, tuple[str, ...]]]] = {
    (_S.FRESH, _E.OPENED): (_S.NEW, ("started_waiting",)),
    (_S.NEW, _E.LOGIN_CAME): (_S.REGISTERING, ("stopped_waiting",)),
    (_S.NEW, _E.ATTACH): (_S.ATTACHED, ("stopped_waiting", "joined")),
    (_S.NEW, _E.CLOSE): (_S.CLOSING, ("stopped_waiting", "end")),
    (_S.NEW, _E.LOST): (_S.GONE, ("stopped_waiting",)),
    (_S.REGISTERING, _E.LOGIN_ANSWERED): (_S.CLOSING, ("end",)),
    (_S.REGISTERING, _E.CLOSE): (_S.CLOSING, ("end",)),
    (_S.REGISTERING, _E.LOST): (_S.GONE, ()),
    # A login on an attached connection is answered and changes nothing else (protocol section 1).
    (_S.ATTACHED, _E.LOGIN_CAME): (_S.ATTACHED, ()),
    (_S.ATTACHED, _E.LOGIN_ANSWERED): (_S.ATTACHED, ()),
    (_S.ATTACHED, _E.CLOSE): (_S.CLOSING, ("left", "end")),
    (_S.ATTACHED, _E.LOST): (_S.GONE, ("left",)),
    (_S.CLOSING, _E.LOST): (_S.GONE, ()),
}
"""Stage and event: the next stage, and the methods of Lived to call. A missing pair cannot happen."""
