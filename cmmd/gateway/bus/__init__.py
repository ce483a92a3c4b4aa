"""A Modbus RTU client on a serial line: ``Bus``, its ``Line``, and how exchanges end."""

from cmmd.gateway.bus.bus import Bus
from cmmd.gateway.bus.line import Direction, Line, Port, PortOpener, PortUser
from cmmd.gateway.bus.outcomes import BusError, ExceptionAnswer, NoAnswer, NotSent, PortError, Statistics
from cmmd.gateway.bus.ports import port_opener

__all__ = [
    "Bus",
    "BusError",
    "Direction",
    "ExceptionAnswer",
    "Line",
    "NoAnswer",
    "NotSent",
    "Port",
    "PortError",
    "PortOpener",
    "PortUser",
    "Statistics",
    "port_opener",
]
