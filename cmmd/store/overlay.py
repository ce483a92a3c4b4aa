"""What a store has, as it will be when rows that wait elsewhere have come."""

from collections.abc import Iterable
from typing import TypeVar

from msgspec.structs import asdict, replace

from cmmd.store.interface import Kept
from cmmd.store.records import Alarm, Command, Device, LastUpload, Numbers, ProfileVersion, Row

__all__ = ["highest", "with_rows"]

N = TypeVar("N", Device, ProfileVersion, Alarm, Command)


def with_rows(kept: Kept, rows: Iterable[Row]) -> Kept:
    """What a store has, as it would be with these rows written to it."""
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


def _put_or_drop(those: dict[int, N], row: N, *, stays: bool) -> None:
    if stays:
        those[row.number] = row
    else:
        those.pop(row.number, None)


def _by_number(those: dict[int, N]) -> list[N]:
    return [one for _, one in sorted(those.items())]
