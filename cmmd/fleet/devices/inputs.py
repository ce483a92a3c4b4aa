"""The device's own four inputs, which change uploads report beside the controller's values (protocol section 4.5).

States are one ``int`` of 0..255, as the store keeps them: the low four bits are the states, the high four say which are
known. 0: nothing is known. Who reported each state is kept, and when: a full upload never repeats an
input, so that a report counts until the device says otherwise, however old it is by then.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct
from twisted.logger import Logger

from cmmd.controllers.entries import Severity
from cmmd.wire.messages import ReqDataChange

__all__ = ["FRESH_S", "INPUTS", "REMOTE_INHIBITED", "Input", "InputReport", "Origin", "Reports", "states"]

log = Logger()

FRESH_S = 180.0
"""Seconds after which a report that was not repeated is stale: three times the period at which gateways repeat."""

_KNOWN = 4  # distance in bits from the state of an input to whether that state is known


class Input(Struct, frozen=True):
    """An input of the device.

    :ivar position: its bit. :ivar name: also of the alarm that it raises. :ivar title: for people.
    :ivar severity: as of a controller's signal.
    """

    position: int
    name: str
    title: str
    severity: Severity

    def state(self, inputs: int) -> bool | None:
        """Read the state out of an ``int`` of all inputs; None: not known."""
        return bool(inputs >> self.position & 1) if inputs >> self.position + _KNOWN & 1 else None


# In the order of the message.
INPUTS = (
    Input(0, "access_alarm", "Door opened", "warning"),
    Input(1, "fire_alarm", "Fire", "alarm"),
    Input(2, "alarm_input", "Alarm input", "alarm"),
    Input(3, "remote_inhibited", "Remote control inhibited at the device", "inhibit"),
)
"""All four. Their names are reserved: a controller's signal of such a name raises no alarm."""

REMOTE_INHIBITED = INPUTS[3]
"""While it is active, nothing but stop is sent to the device."""


class Origin(Struct, frozen=True):
    """The session that a report comes from.

    :ivar address: the host at its other end; empty: not known.
    :ivar session_at: when it was attached, milliseconds UTC; None: not known.
    :ivar trusted: whether it belongs to the latest password login. Another one can raise an input, never lower it.
    """

    address: str = ""
    session_at: int | None = None
    trusted: bool = True


class InputReport(Struct, frozen=True, kw_only=True):
    """The last report of one input.

    :ivar said_at: when, milliseconds UTC; for one that has not changed, of its newest repetition that was kept.
    :ivar address: the host that said it; empty: not known. :ivar session_at: when that session was attached, the same;
        None: not known.
    """

    active: bool
    said_at: int
    address: str
    session_at: int | None

    def stale(self, now_ms: int) -> bool:
        """Tell whether the device has not repeated the report for :data:`FRESH_S`."""
        return now_ms - self.said_at > FRESH_S * 1000


class Reports:
    """The newest report of each input of one device.

    :param text: what :meth:`to_text` gave; what cannot be read is logged and left out.
    :param last_inputs: states without reports, of a version that kept no reports.
    :param last_at: when those were said, milliseconds UTC.
    :ivar inputs: all states as one ``int``.
    :ivar by_name: the reports; inputs that were never reported, or were cleared, are missing.
    :ivar unsaved: a state has changed that the store does not have yet.
    """

    __slots__ = ("by_name", "inputs", "unsaved")

    def __init__(self, text: str = "", last_inputs: int = 0, last_at: int = 0) -> None:
        self.inputs = 0
        self.unsaved = False
        self.by_name: dict[str, InputReport] = {}
        if text:
            try:
                self._put(_DECODER.decode(text))
            except msgspec.MsgspecError as error:
                log.error("input reports cannot be read: {error}", error=error)
        elif last_inputs:
            known = {one.name: state for one in INPUTS if (state := one.state(last_inputs)) is not None}
            self._put(
                {
                    name: InputReport(active=state, said_at=last_at, address="", session_at=None)
                    for name, state in known.items()
                }
            )

    def _put(self, reports: Mapping[str, InputReport]) -> None:
        for one in INPUTS:
            report = reports.get(one.name)
            if report is not None:
                self.by_name[one.name] = report
                self.inputs |= report.active << one.position | 1 << one.position + _KNOWN

    def take(self, message: ReqDataChange, origin: Origin, now_ms: int) -> bool:
        """Take over what a change upload says of the inputs; what it does not say stays.

        An input that is active stays active when a session without trust says that it is not: a stranger who knows a
        hostid could otherwise lift an inhibit.

        :return: whether any state has changed.
        """
        said = (message.AccessAlarm, message.FireAlarm, message.AlarmInput, message.InhbitRemote)
        before = self.inputs
        for one, flag in zip(INPUTS, said, strict=True):
            if flag is None or (not flag and not origin.trusted and one.state(before)):
                continue
            self.by_name[one.name] = InputReport(
                active=bool(flag), said_at=now_ms, address=origin.address, session_at=origin.session_at
            )
            self.inputs = self.inputs & ~(1 << one.position) | flag << one.position | 1 << one.position + _KNOWN
        self.unsaved = self.unsaved or self.inputs != before
        return self.inputs != before

    def clear(self, one: Input) -> None:
        """Forget what was said of an input, until the device says it again."""
        self.by_name.pop(one.name, None)
        self.inputs &= ~(1 << one.position | 1 << one.position + _KNOWN)

    def to_text(self) -> str:
        """Encode the reports as JSON, for the store."""
        return _ENCODER.encode(self.by_name).decode()


_DECODER = msgspec.json.Decoder(dict[str, InputReport])
_ENCODER = msgspec.json.Encoder()


def states(inputs: int) -> dict[str, bool | None]:
    """Name all states; None: not known."""
    return {one.name: one.state(inputs) for one in INPUTS}
