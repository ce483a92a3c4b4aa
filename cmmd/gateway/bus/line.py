"""A serial line: its settings, and the seam between a bus and the port that carries its bytes."""

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct
from twisted.internet.defer import Deferred

from cmmd.gateway.link.address import Address, parse_address

__all__ = ["Direction", "Line", "Port", "PortOpener", "PortUser"]

# --- settings --------------------------------------------------------------------------------------------------------


_CHARACTER_BITS = 11
"""Bits of a character as the Modbus serial line specification counts them (2.5.1), whatever the framing."""

_GAP_CHARACTERS = 3.5
_FASTEST_COUNTED = 19_200  # bit/s; above it the specification wants a fixed gap
_FIXED_GAP_S = 0.001_75

_SOCKET = "socket://"
_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("baud_rate", 300, 4_000_000),
    ("timeout_s", 0.01, 60.0),
    ("retries", 0, 10),
    ("quiet_s", 0.0, 60.0),
    ("gap_s", 0.0, 10.0),
)
_LONGEST_DELAY_S = 0.1

_LATE_S = 5.0
"""How late an answer is reckoned with, where ``quiet_s`` is not longer: seconds after its time."""


class Direction(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of RTS for an RS485 transceiver, as ``serial.rs485.RS485Settings`` has them.

    :ivar rts_sends: the level of RTS while sending; while receiving it is the other one.
    :ivar delay_before_s: seconds between switching to sending and the first bit, 0..0.1, in steps of a millisecond.
    :ivar delay_after_s: seconds between the last bit and switching back, the same.
    :ivar hears_itself: the receiver stays on while sending, so that the line echoes.
    :raises ValueError: a delay out of range.
    """

    rts_sends: bool = True
    delay_before_s: float = 0.0
    delay_after_s: float = 0.0
    hears_itself: bool = False

    def __post_init__(self) -> None:
        for name in ("delay_before_s", "delay_after_s"):
            _check(name, getattr(self, name), 0.0, _LONGEST_DELAY_S)


class Line(Struct, frozen=True, forbid_unknown_fields=True):
    """All that a bus has to know of its line.

    :ivar url: a device such as ``/dev/ttyUSB0``, or a URL as pyserial knows them: ``socket://HOST:PORT`` (raw TCP),
        ``rfc2217://HOST:PORT``, ``hwgrep://...``. At the end of a ``socket://`` the framing is set over there; here it
        only says how long a frame takes.
    :ivar baud_rate: bit/s, 300..4,000,000.
    :ivar data_bits: always 8: Modbus RTU needs all of a byte.
    :ivar parity: none, even or odd.
    :ivar stop_bits: 1 or 2.
    :ivar rs485: how the driver switches the direction; None: the adapter does, or there is nothing to switch.
    :ivar timeout_s: seconds a controller may take to begin its answer, 0.01..60. The time that the two frames take on
        the line comes on top.
    :ivar retries: how often a read is sent again, 0..10. A write never is.
    :ivar quiet_s: seconds without a request after one that was not answered, and after opening, 0..60: what is late
        comes in then, and is dropped.
    :ivar gap_s: seconds of silence that the controller wants before a request where 3.5 characters do not do, 0..10.
    :ivar echo: whether the line sends back what is sent; None: found out by reads.
    :raises ValueError: a value out of range, or values that do not go together; the text names them.
    """

    url: str
    baud_rate: int = 9600
    data_bits: Literal[8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    rs485: Direction | None = None
    timeout_s: float = 1.0
    retries: int = 2
    quiet_s: float = 0.5
    gap_s: float = 0.0
    echo: bool | None = None

    def __post_init__(self) -> None:
        for name, lowest, highest in _BOUNDS:
            _check(name, getattr(self, name), lowest, highest)
        if not self.url:
            raise ValueError("url is empty")
        if (self.address is not None or self.url.startswith("rfc2217://")) and self.rs485 is not None:
            raise ValueError(f"rs485 is set where the serial port is, not for {self.url}")

    @property
    def remote(self) -> bool:
        """Tell whether the serial port is reached over a way that can delay bytes: the network, or an unknown one."""
        return "://" in self.url

    @property
    def address(self) -> Address | None:
        """The address of a ``socket://`` URL; None: it is none.

        :raises ValueError: to nowhere.
        """
        if not self.url.startswith(_SOCKET):
            return None
        try:
            return parse_address(self.url.removeprefix(_SOCKET).removesuffix("/"))
        except ValueError as error:
            raise ValueError(f"url {self.url}: {error}") from None

    @property
    def frame_end_s(self) -> float:
        """Seconds of silence that end a frame: 3.5 characters, or 1.75 ms above 19200 bit/s."""
        return _FIXED_GAP_S if self.baud_rate > _FASTEST_COUNTED else self.seconds_for(_GAP_CHARACTERS)

    @property
    def silence_s(self) -> float:
        """Seconds of silence before a request. In them the line turns around, too: who has sent lets go of it."""
        return max(self.gap_s, self.frame_end_s)

    @property
    def late_s(self) -> float:
        """Seconds that an answer can be late; a later one can be misunderstood."""
        return max(self.quiet_s, _LATE_S)

    def seconds_for(self, length: float) -> float:
        """Compute the time that so many bytes take on the line."""
        return length * _CHARACTER_BITS / self.baud_rate


def _check(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"{name} {value} is not within {lowest}..{highest}")


# --- ports -----------------------------------------------------------------------------------------------------------


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
