"""Operations on devices: the fleet at a glance, lists, one, what is changed about one, and what it reports now."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict

from cmmd.controllers.signals import Mode
from cmmd.fleet.desk.cursors import cursor_text
from cmmd.fleet.desk.records import Changes, RawRun
from cmmd.fleet.desk.summary import COLUMNS, STATES, FleetRow, State, Summary, row_of_fleet, summary_of
from cmmd.fleet.settings import BadSetting
from cmmd.fleet.view import PointNow, SignalNow
from cmmd.store.records import ByteOrder, Device
from cmmd.web.api.around import Around
from cmmd.web.api.operation import JSON_TYPE, Answer, Body, Call, NoQuery, Query, Streamed
from cmmd.web.api.reading import HostId, ProfileName
from cmmd.web.outlet import Outlet
from cmmd.web.problems import WrongField

__all__ = [
    "DeviceList",
    "DevicePage",
    "Enrolment",
    "FleetNow",
    "LiveAnswer",
    "LiveQuery",
    "SettingsPatch",
    "change_settings",
    "disable_device",
    "enable_device",
    "enrol_device",
    "get_device",
    "get_fleet",
    "get_live",
    "list_devices",
]

A_PIECE = 50
"""Devices that are looked at at once: less than a millisecond."""

Limit = Annotated[int, Meta(ge=1, le=1000, description="Most records of this page.")]
Order = Literal["asc", "desc"]
Search = Annotated[str, Meta(max_length=100, description="Part of a hostid, a name or a model, in any case.")]
After = Annotated[str, Meta(max_length=200, description="`next` of the page before: where this one begins.")]


class DeviceList(Query, frozen=True, kw_only=True):
    """Which devices, and in which order."""

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


class LiveQuery(Query, frozen=True, kw_only=True):
    """``raw``: with all coils and registers that are known."""

    raw: bool = False


class LiveAnswer(Struct, frozen=True, kw_only=True):
    """What a device reports now.

    :ivar at: when the newest upload came, milliseconds UTC; null: never. :ivar upload: its running number.
    :ivar stale: nothing has come since the daemon's start.
    :ivar completeness: how much of what the profile names is known, 0..1; null: it names nothing.
    :ivar inputs: the device's own, by name; null: not known.
    :ivar packet_gaps: how often change packets were missing since the start.
    :ivar unplaced: frames of the last upload of which it is not known what they answer.
    :ivar raw: coils and registers, where they were asked for.
    """

    hostid: str
    online: bool
    profile: str
    upload: int
    at: int | None
    stale: bool
    completeness: float | None
    engine_state: str | None
    engine_turns: bool | None
    mode: Mode | None
    points: list[PointNow]
    signals: list[SignalNow]
    inputs: dict[str, bool | None]
    byte_order: ByteOrder | None
    packet_gaps: int
    unplaced: tuple[str, ...]
    raw: list[RawRun] | None


class Enrolment(Body, frozen=True, kw_only=True):
    """A device that will log in. Without a password the first one that it comes with is taken."""

    hostid: HostId
    hostname: Annotated[str, Meta(max_length=20)] = ""
    moduletype: Annotated[str, Meta(max_length=30)] = ""
    password: Annotated[str, Meta(min_length=1, max_length=20)] | None = None


Milliseconds = Annotated[int, Meta(ge=100, le=86_400_000)]


class SettingsPatch(Body, frozen=True, kw_only=True):
    """Which settings are to be what. What is left out stays; null: back to the default.

    ``history_interval`` in seconds; the rates in milliseconds; ``set_port`` and ``set_baud``: the protocol's codes.
    """

    enabled: bool | UnsetType = UNSET
    history_interval: Annotated[float, Meta(ge=1, le=86_400)] | UnsetType | None = UNSET
    data_mode: Annotated[int, Meta(ge=0, le=1)] | UnsetType | None = UNSET
    online_rate: Milliseconds | UnsetType | None = UNSET
    offline_rate: Milliseconds | UnsetType | None = UNSET
    set_port: Annotated[int, Meta(ge=0, le=4)] | UnsetType | None = UNSET
    set_baud: Annotated[int, Meta(ge=0, le=2)] | UnsetType | None = UNSET
    profile: ProfileName | UnsetType | None = UNSET


# --- lists -----------------------------------------------------------------------------------------------------------


async def list_devices(around: Around, call: Call[DeviceList, None]) -> Answer:
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
    """What can be said without looking at what it reports."""
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


async def get_fleet(around: Around, call: Call[NoQuery, None]) -> Streamed:
    """All devices, in pieces."""
    del call

    async def pour(outlet: Outlet) -> None:
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


# --- one -------------------------------------------------------------------------------------------------------------


def get_device(around: Around, call: Call[NoQuery, None]) -> Answer:
    """One device."""
    return Answer(body=around.desk.device(call.hostid))


def get_live(around: Around, call: Call[LiveQuery, None]) -> Answer:
    """What it reports."""
    now = around.desk.live(call.hostid, raw=call.query.raw)
    view = {name: getattr(now.view, name) for name in now.view.__struct_fields__ if name != "freshness_s"}
    return Answer(body=LiveAnswer(online=now.online, raw=now.raw, **view))


async def enrol_device(around: Around, call: Call[NoQuery, Enrolment]) -> Answer:
    """Make one known."""
    body = call.body
    device = await around.desk.enrol(
        body.hostid,
        hostname=body.hostname,
        moduletype=body.moduletype,
        password=body.password,
        by=call.caller.by,
    )
    around.feed.touch(body.hostid)
    return Answer(body=device, status=201, headers={"Location": f"/api/v1/devices/{quote(body.hostid, safe='')}"})


async def change_settings(around: Around, call: Call[NoQuery, SettingsPatch]) -> Answer:
    """Change the owner's settings."""
    try:
        device = await around.desk.set_device(call.hostid, Changes(**asdict(call.body)), call.caller.by)
    except BadSetting as error:
        name, _, what = str(error).partition(": ")
        raise WrongField(f"body.{name}", what) from None
    around.feed.touch(call.hostid)
    return Answer(body=device)


async def disable_device(around: Around, call: Call[NoQuery, None]) -> Answer:
    """Refuse it from now on."""
    return await _enable(around, call, enabled=False)


async def enable_device(around: Around, call: Call[NoQuery, None]) -> Answer:
    """Take it again."""
    return await _enable(around, call, enabled=True)


async def _enable(around: Around, call: Call[NoQuery, None], *, enabled: bool) -> Answer:
    device = await around.desk.set_device(call.hostid, Changes(enabled=enabled), call.caller.by)
    around.feed.touch(call.hostid)
    return Answer(body=device)
