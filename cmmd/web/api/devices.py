"""Operations on one device: what is known of it, what it reports now, and what its owner decides."""

from typing import Annotated
from urllib.parse import quote

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict

from cmmd.controllers.entries import Mode
from cmmd.fleet.errors import BadSetting
from cmmd.fleet.service.administration import LONGEST_REASON
from cmmd.fleet.service.records import Blocked, Changes, Lock, RawRun
from cmmd.fleet.telemetry.view import HypothesisNow, InputReportNow, PointNow, SignalNow
from cmmd.store.records import ByteOrder
from cmmd.web.api.context import ApiContext
from cmmd.web.api.operation import Answer, Body, Call, NoQuery, Query
from cmmd.web.api.reading import HostId, ProfileName
from cmmd.web.http.problems import WrongField

__all__ = [
    "Enrolment",
    "LiveAnswer",
    "LiveQuery",
    "LockBody",
    "SettingsPatch",
    "change_settings",
    "clear_input",
    "disable_device",
    "enable_device",
    "enrol_device",
    "get_device",
    "get_live",
    "lock_device",
    "unlock_device",
]


class LiveQuery(Query, frozen=True, kw_only=True):
    """``raw``: with all coils and registers that are known."""

    raw: bool = False


class LiveAnswer(Struct, frozen=True, kw_only=True):
    """The live record of a device.

    :ivar blocked: why no command but stop can be sent to it now; null: nothing speaks against it, as far as is known.
    :ivar stop_blocked: why stop cannot be sent, either; null: it can. :ivar lock: the maintenance lock; null: none.
    :ivar at: when the newest upload came, milliseconds UTC; null: never. :ivar upload: its running number.
    :ivar stale: nothing has come since the daemon's start.
    :ivar completeness: how much of what the profile names is known, 0..1; null: it names nothing.
    :ivar inputs: the device's own, by name; null: not known.
    :ivar input_reports: when each of them was last said, and by which session, by name.
    :ivar packet_gaps: how often change packets were missing since the start.
    :ivar unplaced: frames of the last upload of which it is not known what they answer.
    :ivar raw: coils and registers, where they were requested.
    """

    hostid: str
    online: bool
    blocked: Blocked | None
    stop_blocked: Blocked | None
    lock: Lock | None
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
    input_reports: dict[str, InputReportNow]
    byte_order: ByteOrder | None
    hypotheses: list[HypothesisNow]
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
    """Changes of a device's settings. A field that is left out stays; null: back to the default.

    ``history_interval`` in seconds; the rates in milliseconds; ``set_port`` and ``set_baud``: the protocol's codes.
    ``history``: whether it can say when an upload was. ``read_as``: how it is to be read whatever its uploads
    show, such as ``byte_order=big, scale=tenths``.
    """

    enabled: bool | UnsetType = UNSET
    history: bool | UnsetType = UNSET
    history_interval: Annotated[float, Meta(ge=1, le=86_400)] | UnsetType | None = UNSET
    data_mode: Annotated[int, Meta(ge=0, le=1)] | UnsetType | None = UNSET
    online_rate: Milliseconds | UnsetType | None = UNSET
    offline_rate: Milliseconds | UnsetType | None = UNSET
    set_port: Annotated[int, Meta(ge=0, le=4)] | UnsetType | None = UNSET
    set_baud: Annotated[int, Meta(ge=0, le=2)] | UnsetType | None = UNSET
    profile: ProfileName | UnsetType | None = UNSET
    read_as: Annotated[str, Meta(max_length=200)] | UnsetType | None = UNSET


class LockBody(Body, frozen=True, kw_only=True):
    """The reason for the lock, for everybody who looks at the device."""

    reason: Annotated[str, Meta(min_length=1, max_length=LONGEST_REASON)]


def get_device(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Get one device in detail."""
    return Answer(body=around.desk.device(call.hostid))


def get_live(around: ApiContext, call: Call[LiveQuery, None]) -> Answer:
    """Get the live record of a device."""
    now = around.desk.live(call.hostid, raw=call.query.raw)
    view = {name: getattr(now.view, name) for name in now.view.__struct_fields__ if name != "freshness_s"}
    beside = {name: getattr(now, name) for name in ("online", "blocked", "stop_blocked", "lock", "raw")}
    return Answer(body=LiveAnswer(**beside, **view))


def get_monitor(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Get the raw live record of a device."""
    return Answer(body=around.desk.monitor(call.hostid))


async def enrol_device(around: ApiContext, call: Call[NoQuery, Enrolment]) -> Answer:
    """Enrol a device before its login."""
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


async def change_settings(around: ApiContext, call: Call[NoQuery, SettingsPatch]) -> Answer:
    """Change the owner's settings."""
    try:
        device = await around.desk.set_device(call.hostid, Changes(**asdict(call.body)), call.caller.by)
    except BadSetting as error:
        name, _, what = str(error).partition(": ")
        raise WrongField(f"body.{name}", what) from None
    around.feed.touch(call.hostid)
    return Answer(body=device)


async def disable_device(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Refuse it from now on."""
    return await _enable(around, call, enabled=False)


async def enable_device(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Enable a device that was disabled."""
    return await _enable(around, call, enabled=True)


async def _enable(around: ApiContext, call: Call[NoQuery, None], *, enabled: bool) -> Answer:
    device = await around.desk.set_device(call.hostid, Changes(enabled=enabled), call.caller.by)
    around.feed.touch(call.hostid)
    return Answer(body=device)


# --- people beside the machine ----------------------------------------------------------------------------------------


async def lock_device(around: ApiContext, call: Call[NoQuery, LockBody]) -> Answer:
    """Lock it for maintenance."""
    return Answer(body=await around.desk.lock(call.hostid, call.body.reason, call.caller.by))


async def unlock_device(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Remove the maintenance lock of a device."""
    return Answer(body=await around.desk.unlock(call.hostid, call.caller.by))


async def clear_input(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Forget what the device last said of one of its inputs."""
    return Answer(body=await around.desk.clear_input(call.hostid, call.path["input"], call.caller.by))
