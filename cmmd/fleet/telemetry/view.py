"""A live record as people and programs read it: decoded when somebody asks."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import asdict

from cmmd.controllers.points import Point, Value
from cmmd.controllers.signals import Mode, Severity
from cmmd.fleet.devices import inputs
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.register_state import RegisterState
from cmmd.modbus.frames import Function
from cmmd.modbus.image import RegisterImage

__all__ = ["InputReportNow", "PointNow", "Quality", "SignalNow", "View", "view_of"]

Quality = Literal["good", "stale", "uncertain", "implausible", "unknown"]
"""``stale``: it need not be true any more: it is from before the last start, its frame did not come with the last
upload, or the device is offline. ``uncertain``: read in a byte order that is not decided. ``implausible``: outside of
what its profile holds for possible. ``unknown``: no data, or never heard of."""

_HOLDING_REGISTERS = Function.READ_HOLDING_REGISTERS


class PointNow(Struct, frozen=True, kw_only=True):
    """A point: ``value`` in ``unit``, None where it is unknown; ``word``: what the value of a state is called."""

    name: str
    title: str
    unit: str
    value: Value
    word: str | None
    quality: Quality


class SignalNow(Struct, frozen=True, kw_only=True):
    """A signal; ``active`` None: not known."""

    name: str
    title: str
    severity: Severity
    active: bool | None


class InputReportNow(Struct, frozen=True, kw_only=True):
    """The last report of one of the device's own inputs.

    :ivar said_at: when, milliseconds UTC; :ivar address: the host that said it; empty: not known.
    :ivar session_at: when that session was attached, milliseconds UTC; None: not known.
    :ivar stale: the device has not repeated it for some minutes. It counts all the same.
    """

    active: bool
    said_at: int
    address: str
    session_at: int | None
    stale: bool


class View(Struct, frozen=True, kw_only=True):
    """Everything known of a device now.

    :ivar profile: the name of its controller's profile.
    :ivar upload: running number of the newest upload.
    :ivar at: when it came, milliseconds UTC; None: never.
    :ivar freshness_s: seconds since then.
    :ivar stale: nothing has come since the start.
    :ivar completeness: how much of what the profile names is known, 0..1; None: it names nothing.
    :ivar byte_order: of registers in its change uploads; None: not decided.
    :ivar inputs: the device's own, by name; None: not known.
    :ivar input_reports: when each of them was last said and by which session, by name.
    :ivar packet_gaps: how often change packets were missing since the start: what they said is not known.
    :ivar unplaced: frames of the last upload of which it is not known what they answer.
    """

    hostid: str
    profile: str
    upload: int
    at: int | None
    freshness_s: float | None
    stale: bool
    completeness: float | None
    engine_state: str | None
    engine_turns: bool | None
    mode: Mode | None
    points: list[PointNow]
    signals: list[SignalNow]
    inputs: dict[str, bool | None]
    input_reports: dict[str, InputReportNow]
    byte_order: Literal["little", "big"] | None
    packet_gaps: int
    unplaced: tuple[str, ...]


def view_of(record: LiveRecord, now: float, *, online: bool) -> View:
    """Decode a live record.

    :param now: Unix time in seconds.
    :param online: whether the device is.
    """
    profile, known = record.profile, record.known
    before = RegisterState(None)
    before.image = known.older or RegisterImage()
    return View(
        hostid=record.hostid,
        profile=profile.name,
        upload=record.upload,
        at=record.at,
        freshness_s=None if record.at is None else round(max(now - record.at / 1000, 0.0), 3),
        stale=record.stale,
        completeness=profile.completeness(known),
        engine_state=profile.engine_state(known),
        engine_turns=profile.engine_turns(known),
        mode=profile.mode(known),
        points=[_point(record, point, before, online=online) for point in profile.definition.points],
        signals=[
            SignalNow(name=one.name, title=one.title, severity=one.severity, active=profile.signal_state(one, known))
            for one in profile.definition.signals
        ],
        inputs=inputs.states(record.inputs),
        input_reports=_input_reports(record, int(now * 1000)),
        byte_order=known.byte_order,
        packet_gaps=record.packet_gaps,
        unplaced=record.unplaced,
    )


def _input_reports(record: LiveRecord, now_ms: int) -> dict[str, InputReportNow]:
    if record.reports is None:
        return {}
    return {
        name: InputReportNow(**asdict(report), stale=report.stale(now_ms))
        for name, report in record.reports.by_name.items()
    }


def _point(record: LiveRecord, point: Point, before: RegisterState, *, online: bool) -> PointNow:
    value, quality = _certain(point, record.known, "good" if online else "stale")
    if value is None:
        value, quality = _uncertain(point, record.known)
    if value is None:
        value, quality = _certain(point, before, "stale")
    return PointNow(
        name=point.name,
        title=point.title,
        unit=point.unit,
        value=value,
        word=record.profile.word(point, value),
        quality=quality,
    )


def _certain(point: Point, known: RegisterState, quality: Quality) -> tuple[Value, Quality]:
    value = point.value([known.register(address) for address in point.addresses])
    if value is None:
        return None, "unknown"
    return value, quality if point.plausible(value) else "implausible"


def _uncertain(point: Point, known: RegisterState) -> tuple[Value, Quality]:
    """A value that is plausible if the device's byte order is little-endian, which is not known."""
    undecided = known.undecided
    if undecided is None:
        return None, "unknown"
    raw = [
        known.register(address) if came is None else came
        for address in point.addresses
        for came in [undecided.register(_HOLDING_REGISTERS, address)]
    ]
    value = point.value(raw)
    return (value, "uncertain") if value is not None and point.plausible(value) else (None, "unknown")
