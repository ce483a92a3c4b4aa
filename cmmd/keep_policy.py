"""The rule by which uploads are kept, at the server as history and at the gateway while no server gets them.

Kept are the first one, one in each interval, and what brings a change; but what flaps must not fill a disk.
"""

from dataclasses import dataclass
from enum import Enum

__all__ = ["CHANGE_GAP_S", "Due", "KeepPolicy"]

CHANGE_GAP_S = 1.0
"""Between a kept upload and the next one that is kept because something changed."""


class Due(Enum):
    """The reason to keep an upload, or not to."""

    FIRST = "first"
    """None was kept before."""
    INTERVAL = "interval"
    """The last one was kept longer ago than the interval, or in the future: the clock was set back."""
    CHANGE = "change"
    """Something has changed."""
    TOO_SOON = "too soon"
    """Something has changed, directly after one that was kept: it is owed."""
    NOT_DUE = "not due"


@dataclass(frozen=True, slots=True)
class KeepPolicy:
    """Decide what is kept. All times are in one unit, which the caller chooses.

    :param interval: between uploads that are kept though nothing changes.
    :param change_gap: between an upload that is kept and the next one that is kept for a change.
    """

    interval: float
    change_gap: float

    def due(self, now: float, kept_at: float | None, *, changed: bool, interval: float | None = None) -> Due:
        """Decide about an upload.

        :param kept_at: when the last one was kept; None: none was.
        :param changed: whether something has changed in it, or a change is owed.
        :param interval: in place of the usual one.
        """
        if kept_at is None:
            return Due.FIRST
        since = now - kept_at
        if changed:
            return Due.TOO_SOON if self.too_soon(now, kept_at) else Due.CHANGE
        return Due.INTERVAL if since < 0 or since > (self.interval if interval is None else interval) else Due.NOT_DUE

    def too_soon(self, now: float, kept_at: float | None) -> bool:
        """Tell whether a change comes directly after an upload that was kept."""
        return kept_at is not None and 0 <= now - kept_at < self.change_gap
