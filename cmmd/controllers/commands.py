"""Commands: what an operator can have the controller do, by writing a coil.

Source: the table of commands of docs/controllers.md; Modbus function 05 (protocol section 8).
"""

from struct import pack

from cmmd.controllers.fields import Address, Entry, Name, RegisterValue, Title, Unit
from cmmd.controllers.signals import Mode
from cmmd.modbus.frames import build_frame

__all__ = ["Command", "Confirmation", "PointLeaves", "SignalChanges", "SignalCleared", "SignalSet"]

_WRITE_COIL = 5
_ON = 0xFF00


class PointLeaves(Entry, frozen=True, kw_only=True, tag_field="when", tag="leaves"):
    """The command has been obeyed when this point is no longer this raw value."""

    point: str
    value: RegisterValue


class SignalSet(Entry, frozen=True, kw_only=True, tag_field="when", tag="set"):
    """The command has been obeyed when this signal is set."""

    signal: str


class SignalCleared(Entry, frozen=True, kw_only=True, tag_field="when", tag="cleared"):
    """The command has been obeyed when this signal is known not to be set."""

    signal: str


class SignalChanges(Entry, frozen=True, kw_only=True, tag_field="when", tag="changes"):
    """The command has been obeyed when this signal is not what it was before."""

    signal: str


Confirmation = PointLeaves | SignalSet | SignalCleared | SignalChanges


class Command(Entry, frozen=True, kw_only=True):
    """``[commands]``: switches ``coil`` of ``unit`` on.

    ``idempotent``: sent twice it does what it does sent once; what is not, is never repeated unasked.
    ``only_in_mode``: the mode in which the controller obeys; None: in any. ``confirmed_by``: how to see that it has
    obeyed; None: it cannot be seen.
    """

    name: Name
    title: Title
    unit: Unit
    coil: Address
    idempotent: bool
    only_in_mode: Mode | None = None
    confirmed_by: Confirmation | None = None

    @property
    def frame(self) -> str:
        """The Modbus request: function 05, write coil on; upper-case hex with CRC."""
        return build_frame(pack(">BBHH", self.unit, _WRITE_COIL, self.coil, _ON))
