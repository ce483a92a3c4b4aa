"""A live record as people and programs read it: decoded on request."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import asdict

from cmmd.controllers.entries import Mode, Severity
from cmmd.fleet.devices import inputs
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.point_view import (
    HypothesisNow,
    PointNow,
    PossibleValue,
    Quality,
    hypotheses_of,
    point_now,
)
from cmmd.fleet.telemetry.register_state import RegisterState
from cmmd.modbus.image import RegisterImage

__all__ = [
    "HypothesisNow",
    "InputReportNow",
    "PointNow",
    "PossibleValue",
    "Quality",
    "SignalNow",
    "View",
    "view_of",
]


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
    :ivar hypotheses: how the device is to be read, as far as that is found out.
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
    hypotheses: list[HypothesisNow]
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
        points=[point_now(record, point, before, online=online) for point in profile.definition.points],
        signals=[
            SignalNow(name=one.name, title=one.title, severity=one.severity, active=profile.signal_state(one, known))
            for one in profile.definition.signals
        ],
        inputs=inputs.states(record.inputs),
        input_reports=_input_reports(record, int(now * 1000)),
        byte_order=known.byte_order,
        hypotheses=hypotheses_of(record),
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
