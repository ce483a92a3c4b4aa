"""The life of a connection from a device, as a state machine (protocol sections 1, 4 and 5).

new: nothing understood yet, and it may not stay so for long. registering: a login is being decided, the connection ends
with its answer. attached: the long connection of a device. closing: the last answer is on its way. gone.
"""

from typing import Protocol

from automat import TypeMachineBuilder

__all__ = ["Life", "Lived", "new_life"]


class Lived(Protocol):
    """What the machine does with its connection."""

    def started_waiting(self) -> None:
        """The first message has so long to come as ``login_timeout`` says."""

    def stopped_waiting(self) -> None:
        """It came, or need not come any more."""

    def joined(self, hostid: str) -> None:
        """The connection is a device's session from here on."""

    def left(self) -> None:
        """It no longer is."""

    def end(self) -> None:
        """Send what is unsent, then close."""


class Life(Protocol):
    """What happens to a connection."""

    def opened(self) -> None:
        """The device connected."""

    def login_came(self) -> None:
        """A login is to be decided."""

    def login_answered(self) -> None:
        """The answer to it has been handed to the transport."""

    def attach(self, hostid: str) -> None:
        """A message of a registered device came."""

    def close(self) -> None:
        """We want to close."""

    def lost(self) -> None:
        """The connection is gone."""


_builder = TypeMachineBuilder(Life, Lived)  # type: ignore[type-abstract]
_fresh = _builder.state("fresh")
_new = _builder.state("new")
_registering = _builder.state("registering")
_attached = _builder.state("attached")
_closing = _builder.state("closing")
_gone = _builder.state("gone")


@_fresh.upon(Life.opened).to(_new)
def _opened(_: Life, connection: Lived) -> None:
    connection.started_waiting()


@_new.upon(Life.login_came).to(_registering)
def _registers(_: Life, connection: Lived) -> None:
    connection.stopped_waiting()


@_registering.upon(Life.login_answered).to(_closing)
def _registered(_: Life, connection: Lived) -> None:
    connection.end()


@_new.upon(Life.attach).to(_attached)
def _attaches(_: Life, connection: Lived, hostid: str) -> None:
    connection.stopped_waiting()
    connection.joined(hostid)


@_new.upon(Life.close).to(_closing)
def _closes_early(_: Life, connection: Lived) -> None:
    connection.stopped_waiting()
    connection.end()


@_registering.upon(Life.close).to(_closing)
def _closes_undecided(_: Life, connection: Lived) -> None:
    connection.end()


@_attached.upon(Life.close).to(_closing)
def _closes_session(_: Life, connection: Lived) -> None:
    connection.left()
    connection.end()


@_new.upon(Life.lost).to(_gone)
def _lost_early(_: Life, connection: Lived) -> None:
    connection.stopped_waiting()


@_attached.upon(Life.lost).to(_gone)
def _lost_session(_: Life, connection: Lived) -> None:
    connection.left()


# A login on an attached connection is answered and changes nothing else (protocol section 1).
_attached.upon(Life.login_came).loop().returns(None)
_attached.upon(Life.login_answered).loop().returns(None)
_registering.upon(Life.lost).to(_gone).returns(None)
_closing.upon(Life.lost).to(_gone).returns(None)

new_life = _builder.build()
"""Makes the machine of one connection: ``new_life(connection)``."""
