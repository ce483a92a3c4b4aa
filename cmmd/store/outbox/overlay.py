"""The content of a store as it will be when rows that wait elsewhere have arrived."""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from msgspec.structs import asdict, replace
from twisted.logger import Logger

from cmmd.store.interface import Snapshot, StoreError
from cmmd.store.records import Alarm, Command, Device, LastUpload, Numbers, ProfileVersion, Row

__all__ = ["Absent", "NumbersTaken", "highest", "with_rows"]

log = Logger()

N = TypeVar("N", Device, ProfileVersion, Alarm, Command)


def with_rows(kept: Snapshot, rows: Iterable[Row]) -> Snapshot:
    """Compute the snapshot as if these rows were written to the store."""
    devices = {device.number: device for device in kept.devices}
    profiles = {profile.number: profile for profile in kept.profiles}
    uploads = {upload.hostid: upload for upload in kept.uploads}
    alarms = {alarm.number: alarm for alarm in kept.alarms}
    unfinished = {command.number: command for command in kept.unfinished}
    numbers = kept.numbers
    for row in rows:
        match row:
            case Device():
                devices[row.number] = row
            case ProfileVersion():
                profiles.setdefault(row.number, row)
            case LastUpload():
                uploads[row.hostid] = row
            case Alarm():
                _put_or_drop(alarms, row, stays=row.cleared_at is None)
            case Command():
                _put_or_drop(unfinished, row, stays=row.outcome is None)
            case Numbers():
                numbers = highest(numbers, row)
    return replace(
        kept,
        devices=_by_number(devices),
        profiles=_by_number(profiles),
        uploads=list(uploads.values()),
        alarms=_by_number(alarms),
        unfinished=_by_number(unfinished),
        numbers=numbers,
    )


def highest(one: Numbers, other: Numbers) -> Numbers:
    """Of each kind the higher one."""
    return Numbers(**{name: max(number, getattr(other, name)) for name, number in asdict(one).items()})


class NumbersTaken(StoreError):
    """Rows that wait for a store may have numbers that it has given to others."""


class Absent(NamedTuple):
    """A store that was unavailable at the start.

    :ivar known: what the copy of it has.
    :ivar kept: what the daemon has begun with: that, and what waits for the store.
    :ivar identities: of the spool where that waits.
    """

    known: Snapshot
    kept: Snapshot
    identities: frozenset[str]

    def check(self, now: Snapshot) -> None:
        """Look at it when it is there.

        :raises StoreError: it is not the one that is known, or not as it was left.
        :raises NumbersTaken: the store has given the numbers of waiting rows to others.
        """
        if now.identity != self.known.writer:
            raise StoreError("it is not the store that is known here")
        if now.writer not in ("", *self.identities):
            raise StoreError("another cmmd has written to the store")
        if highest(self.kept.numbers, now.numbers) != self.kept.numbers:
            raise NumbersTaken("more was written to the store than is known here")
        unknown = {device.hostid for device in now.devices} - {device.hostid for device in self.kept.devices}
        if unknown:
            log.warn("{count} devices in the store were not known here: start again to serve them", count=len(unknown))


def _put_or_drop(those: dict[int, N], row: N, *, stays: bool) -> None:
    if stays:
        those[row.number] = row
    else:
        those.pop(row.number, None)


def _by_number(those: dict[int, N]) -> list[N]:
    return [one for _, one in sorted(those.items())]
