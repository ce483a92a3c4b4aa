"""Operations on all devices: the fleet at a glance, and lists, filtered and sorted."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import msgspec
from msgspec import Struct

from cmmd.controllers.entries import Mode
from cmmd.fleet.service.device_rows import COLUMNS, STATES, FleetRow, State, Summary, row_of_fleet, summary_of
from cmmd.fleet.service.records import cursor_text
from cmmd.store.records import Device
from cmmd.web.api.context import After, ApiContext, Limit, Order, Search
from cmmd.web.api.operation import JSON_TYPE, Answer, Call, NoQuery, Query, Streamed
from cmmd.web.api.reading import ProfileName
from cmmd.web.http.problems import WrongField
from cmmd.web.http.streaming_body import StreamingBody

__all__ = ["DeviceList", "DevicePage", "FleetNow", "get_fleet", "list_devices"]

A_PIECE = 20
"""Devices that are looked at at once: a millisecond or two."""


class DeviceList(Query, frozen=True, kw_only=True):
    """A selection of devices, and their order."""

    q: Search | None = None
    online: bool | None = None
    enabled: bool | None = None
    state: State | None = None
    mode: Mode | None = None
    alarm: Literal["any", "none", "warning", "alarm", "shutdown"] | None = None
    profile: ProfileName | None = None
    sort: Literal["number", "hostid", "hostname", "state", "at"] = "number"
    order: Order = "asc"
    after: After | None = None
    limit: Limit = 100


class DevicePage(Struct, frozen=True):
    """Devices; ``next``: hand it back as ``after`` for the next ones; null: there are no more now."""

    devices: list[Summary]
    next: str | None


class FleetNow(Struct, frozen=True):
    """All devices. ``columns``: the names of a row's values, in their order; ``now``: our clock.

    ``place``: hand it to ``/events`` as ``after``, and nothing is missed.
    """

    columns: list[str]
    now: int
    place: str
    rows: list[FleetRow]


async def list_devices(around: ApiContext, call: Call[DeviceList, None]) -> Answer:
    """A page of devices."""
    wanted = call.query
    after = None if wanted.after is None else _place_from(wanted.after)
    kept: list[tuple[Any, int, Summary]] = []
    sign = -1 if wanted.order == "desc" else 1
    fleet = around.desk.fleet
    for devices in _pieces(fleet.registry.devices()):
        await around.pieces.turn()
        for device in devices:
            if _may_fit(device, wanted):
                row = summary_of(fleet, device)
                place = (_key(row, wanted.sort), row.number)
                if _fits(row, wanted) and (after is None or _behind(place, after, sign)):
                    kept.append((*place, row))
        if len(kept) > 4 * wanted.limit + 1000:
            kept = _first(kept, wanted)
    kept = _first(kept, wanted)
    more = len(kept) > wanted.limit
    page = kept[: wanted.limit]
    following = _place_text((page[-1][0], page[-1][1])) if more else None
    return Answer(body=DevicePage([row for _, _, row in page], following))


def _pieces(devices: Iterator[Device]) -> Iterator[list[Device]]:
    while piece := list(islice(devices, A_PIECE)):
        yield piece


def _first(kept: list[tuple[Any, int, Summary]], wanted: DeviceList) -> list[tuple[Any, int, Summary]]:
    """The first ones of the page, and one more."""
    return sorted(kept, key=lambda one: one[:2], reverse=wanted.order == "desc")[: wanted.limit + 1]


def _may_fit(device: Device, wanted: DeviceList) -> bool:
    """Filter a device by what is known without its live record."""
    if wanted.enabled is not None and device.enabled != wanted.enabled:
        return False
    if wanted.q is None:
        return True
    sought = wanted.q.casefold()
    return any(sought in text.casefold() for text in (device.hostid, device.hostname, device.moduletype))


def _fits(row: Summary, wanted: DeviceList) -> bool:
    alarm = {"any": row.alarms > 0, "none": row.alarms == 0}.get(wanted.alarm or "", row.severity == wanted.alarm)
    return (
        wanted.online in (None, row.online)
        and wanted.state in (None, row.state)
        and wanted.mode in (None, row.mode)
        and wanted.profile in (None, row.profile)
        and (wanted.alarm is None or alarm)
    )


def _key(row: Summary, sort: str) -> Any:
    match sort:
        case "hostid":
            return row.hostid
        case "hostname":
            return row.hostname.casefold()
        case "state":
            return STATES.index(row.state)
        case "at":
            return row.at or 0
    return 0


def _behind(place: tuple[Any, int], after: tuple[Any, int], sign: int) -> bool:
    try:
        return bool(place > after if sign > 0 else place < after)
    except TypeError:
        raise WrongField("query.after", "not a place that a page before has named") from None


def _place_text(place: tuple[Any, int]) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _place_from(text: str) -> tuple[Any, int]:
    try:
        packed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        key, number = msgspec.json.decode(packed, type=tuple[str | int, int])
    except (ValueError, msgspec.MsgspecError):
        raise WrongField("query.after", "not a place that a page before has named") from None
    return key, number


async def get_fleet(around: ApiContext, call: Call[NoQuery, None]) -> Streamed:
    """All devices, in pieces."""
    del call

    async def pour(outlet: StreamingBody) -> None:
        fleet = around.desk.fleet
        head = FleetNow(list(COLUMNS), int(around.now() * 1000), cursor_text(around.feed.place), [])
        between = msgspec.json.encode(head).removesuffix(b"]}")
        for devices in _pieces(fleet.registry.devices()):
            await around.pieces.turn()
            rows = msgspec.json.encode([row_of_fleet(fleet, device) for device in devices])
            await outlet.write(between + rows[1:-1])
            between = b","
        outlet.put((b"" if between == b"," else between) + b"]}")

    return Streamed(pour=pour, media_type=JSON_TYPE)
