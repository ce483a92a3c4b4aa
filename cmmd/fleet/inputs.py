"""The device's own four inputs, which change uploads say beside the controller's values (protocol section 4.5).

All four are one ``int`` of 0..255, as the store keeps them: the low four bits are the states, the high four say which
are known. 0: nothing is known.
"""

from msgspec import Struct

from cmmd.controllers.signals import Severity
from cmmd.wire.messages import ReqDataChange

__all__ = ["INPUTS", "REMOTE_INHIBITED", "Input", "merge", "states"]

_KNOWN = 4  # how far left of its state stands whether an input is known


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
        """Whether it is active; None: not known."""
        return bool(inputs >> self.position & 1) if inputs >> self.position + _KNOWN & 1 else None


# In the order of the message.
INPUTS = (
    Input(0, "access_alarm", "Door opened", "warning"),
    Input(1, "fire_alarm", "Fire", "alarm"),
    Input(2, "alarm_input", "Alarm input", "alarm"),
    Input(3, "remote_inhibited", "Remote control inhibited at the device", "inhibit"),
)
"""All four. Their names are taken: a controller's signal of such a name raises no alarm."""

REMOTE_INHIBITED = INPUTS[3]
"""While it is active, the device takes no remote control."""


def merge(inputs: int, message: ReqDataChange) -> int:
    """What is known after a change upload; what it does not say stays."""
    if message.AccessAlarm is message.FireAlarm is message.AlarmInput is message.InhbitRemote is None:
        return inputs  # as nearly always: no tuple for it
    said = (message.AccessAlarm, message.FireAlarm, message.AlarmInput, message.InhbitRemote)
    for position, flag in enumerate(said):
        if flag is not None:
            inputs = inputs & ~(1 << position) | flag << position | 1 << position + _KNOWN
    return inputs


def states(inputs: int) -> dict[str, bool | None]:
    """All states by name; None: not known."""
    return {one.name: one.state(inputs) for one in INPUTS}
