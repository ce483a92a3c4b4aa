"""Counters as plain integers, and durations as counts in fixed buckets, exported on scrape."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, MutableMapping
from enum import StrEnum
from itertools import accumulate

from cmmd.wire.errors import Reason

__all__ = ["Counters", "FrameOutcome", "Histogram"]


class Histogram:
    """Observations, counted in fixed buckets.

    :param bounds: upper bounds of the buckets, ascending, each included; what is above the last one counts, too.
    :ivar counts: observations of each bucket, and of those above the last one.
    :ivar total: the sum of all observations.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; what is negative, because a clock was set, counts as nothing."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, the last one infinite, with how many observations are not above it."""
        return zip((*self.bounds, float("inf")), accumulate(self.counts), strict=True)


class FrameOutcome(StrEnum):
    """The outcome of a Modbus frame of a full upload, or of an item of a change upload."""

    TAKEN = "taken"
    CHANGED = "changed"
    """An item of a change upload that was taken."""
    BAD_CRC = "bad_crc"
    MALFORMED = "malformed"
    """No frame, or no item, at all."""
    EXCEPTION = "exception"
    """The controller did not do what the device asked it."""
    FOREIGN = "foreign"
    """It answers no request of the plan."""
    AMBIGUOUS = "ambiguous"
    """It may answer more than one request."""
    NO_ROOM = "no_room"
    """The image would grow too large."""

    __hash__ = str.__hash__  # that of Enum is written in Python: 0.3 µs for each count


class Counters:
    """One daemon's counters since it started. Labels come from fixed sets, never from a peer's text.

    :ivar messages: messages understood, by method.
    :ivar peer_errors: what was not taken, by reason.
    :ivar logins: logins answered, by retcode.
    :ivar uploads: uploads taken in, by kind (``full``, ``change``).
    :ivar frames: Modbus frames and changed items in them, by outcome.
    :ivar packet_gaps: how often change packets were missing.
    :ivar readings: uploads kept, by reason.
    :ivar suppressed: uploads with changes left out of history, because a device had too many.
    :ivar not_kept: uploads that the store did not take; the devices were answered so.
    :ivar bytes_received: bytes from devices.
    :ivar bugs: exceptions that are bugs of cmmd; see :func:`~cmmd.fleet.counters.error_counter.count_bugs`.
    """

    def __init__(self) -> None:
        self.messages: MutableMapping[str, int] = Counter()
        self.peer_errors: MutableMapping[Reason, int] = Counter()
        self.logins: MutableMapping[str, int] = Counter()
        self.uploads: MutableMapping[str, int] = Counter()
        self.frames: MutableMapping[FrameOutcome, int] = Counter()
        self.packet_gaps = 0
        self.readings: MutableMapping[str, int] = Counter()
        self.suppressed = 0
        self.not_kept = 0
        self.bytes_received = 0
        self.bugs = 0
