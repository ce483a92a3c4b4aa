"""A Modbus RTU client on a serial line: ``Bus``, its ``Line``, and how exchanges end."""

from cmmd.gateway.bus.bus import Bus
from cmmd.gateway.bus.errors import BusError, ExceptionAnswer, NoAnswer, NotSent, PortError
from cmmd.gateway.bus.line import Direction, Line
from cmmd.gateway.bus.port import Port, PortOpener, PortUser
from cmmd.gateway.bus.ports import port_opener
from cmmd.gateway.bus.statistics import Statistics

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
