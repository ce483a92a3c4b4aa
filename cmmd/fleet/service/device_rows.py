"""The fleet as people and programs see it."""

from collections.abc import Mapping
from typing import Literal, TypeVar, get_args

from msgspec import Struct

from cmmd import __version__
from cmmd.controllers.entries import Mode, Signal
from cmmd.controllers.points import Value
from cmmd.controllers.profile import Profile
from cmmd.fleet.alarms.alarms import AlarmSeverity
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.devices.inputs import states
from cmmd.fleet.fleet import Fleet
from cmmd.fleet.service.records import CommandInfo, DeviceDetails, DeviceRow, Lock, RawRun, Settings, StatusNow
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.point_view import hypotheses_of
from cmmd.fleet.telemetry.register_state import RegisterState
from cmmd.modbus.frames import Function
from cmmd.store.records import Alarm, Device

__all__ = [
    "COLUMNS",
    "STATES",
    "FleetRow",
    "State",
    "Summary",
    "details_of",
    "lock_of",
    "raw_of",
    "row_of",
    "row_of_fleet",
    "status_of",
    "summary_of",
]


def status_of(fleet: Fleet, counters: Counters, now: int, started_at: int) -> StatusNow:
    """Describe the state of the daemon; times in milliseconds UTC."""
    health = fleet.store_health()
    return StatusNow(
        version=__version__,
        now=now,
        started_at=started_at,
        devices=len(fleet.registry),
        enrolment=fleet.registry.enrolment.policy,
        waiting=len(fleet.registry.enrolment.candidates),
        online=len(fleet.presence),
        sessions=fleet.presence.session_count,
        alarms=dict(fleet.alarms.counts),
        store_up=health.up,
        backlog=health.backlog,
        bytes_received=counters.bytes_received,
        messages=dict(counters.messages),
        uploads=dict(counters.uploads),
        readings=dict(counters.readings),
        logins=dict(counters.logins),
        peer_errors={str(reason): count for reason, count in counters.peer_errors.items()},
        bugs=counters.bugs,
    )


def row_of(fleet: Fleet, device: Device) -> DeviceRow:
    """A device in a list."""
    record = fleet.live.record(device)
    profile, known = record.profile, record.known
    return DeviceRow(
        number=device.number,
        hostid=device.hostid,
        hostname=device.hostname,
        moduletype=device.moduletype,
        profile=profile.name,
        enabled=device.enabled,
        online=fleet.presence.online(device.hostid),
        address=fleet.presence.address(device.hostid),
        last_login_at=device.last_login_at,
        upload=record.upload,
        at=record.at,
        stale=record.stale,
        engine_state=profile.engine_state(known),
        engine_turns=profile.engine_turns(known),
        mode=profile.mode(known),
        alarms=len(fleet.alarms.open_alarms(device.hostid)),
        lock=lock_of(device),
        active_inputs=[name for name, active in states(record.inputs).items() if active],
        in_doubt=list(dict.fromkeys(fleet.presence.in_doubt(device.hostid))),
    )


def lock_of(device: Device) -> Lock | None:
    """Give the maintenance lock of a device; None: it is not locked."""
    if device.locked_by is None:
        return None
    return Lock(by=device.locked_by, at=device.locked_at or 0, reason=device.lock_reason or "")


def details_of(fleet: Fleet, device: Device) -> DeviceDetails:
    """All that is known of a device but what it uploads; never its password, hashed or not."""
    sessions = [session.peer for session in fleet.presence.sessions(device.hostid)]
    profile = fleet.live.record(device).profile
    return DeviceDetails(
        row=row_of(fleet, device),
        registered_at=device.registered_at,
        has_password=device.password_hash is not None,
        wrong_passwords=fleet.registry.wrong_passwords.get(device.hostid, 0),
        module_port=device.module_port,
        module_baud=device.module_baud,
        longitude=device.longitude,
        latitude=device.latitude,
        altitude=device.altitude,
        gpsen=device.gpsen,
        wgs84_longitude=device.wgs84_longitude,
        wgs84_latitude=device.wgs84_latitude,
        para_command=device.para_command,
        byte_order=device.byte_order,
        hypotheses=hypotheses_of(fleet.live[device.hostid]),
        settings=Settings(**{name: getattr(device, name) for name in Settings.__struct_fields__}),
        last_login_address=device.last_login_address,
        sessions=sessions,
        commands=[
            CommandInfo(
                name=one.name,
                title=one.title,
                idempotent=one.idempotent,
                only_in_mode=one.only_in_mode,
                confirmable=one.confirmed_by is not None,
            )
            for one in profile.definition.commands
        ],
        withheld=dict(profile.withheld),
    )


def raw_of(record: LiveRecord) -> list[RawRun]:
    """All coils and registers that are known; None for a register of which only something uncertain is newer."""
    runs: list[RawRun] = []
    image, undecided = record.known.image, record.known.undecided
    for function in (one for one in Function if one.reads):
        for run in image.known(function):
            values: list[int | None]
            if function.reads_bits:
                values = [int(bit) for bit in image.bits(function, run.start, len(run)) if bit is not None]
            else:
                values = list(image.registers(function, run.start, len(run)))
                if undecided is not None:
                    newer = undecided.registers(function, run.start, len(run))
                    values = [None if other is not None else one for one, other in zip(values, newer, strict=True)]
            runs.append(RawRun(function=int(function), address=run.start, values=values))
    return runs


State = Literal["offline", "alarm", "running", "standby", "unknown"]
"""``offline``: no live session; ``alarm``: an alarm or a shutdown is open; ``running``, ``standby``: the engine turns
or is at rest; ``unknown``: online, and its state is not known."""

STATES: tuple[State, ...] = get_args(State)

_WORST_FIRST: tuple[AlarmSeverity, ...] = ("shutdown", "alarm", "warning")


class Summary(Struct, frozen=True, gc=False):
    """A device in one row. None: not known, or not certain.

    :ivar number: of its registration.
    :ivar alarms: how many are open; :ivar severity: of the worst of them; None: there are none.
    :ivar power: active power in kW; :ivar load: in percent of the genset's rating; :ivar fuel: level in percent.
    :ivar mains: whether they are normal; :ivar mains_closed: whether their breaker is; the same for the generator's.
    :ivar at: when the newest upload came, milliseconds UTC; :ivar upload: its running number.
    :ivar stale: nothing has come since the daemon's start.
    :ivar longitude: in degrees, as is latitude, in WGS-84.
    :ivar locked_by: who has locked it for maintenance; None: it is not locked. :ivar lock_reason: the same, why.
    """

    number: int
    hostid: str
    hostname: str
    moduletype: str
    profile: str
    enabled: bool
    online: bool
    state: State
    alarms: int
    severity: AlarmSeverity | None
    mode: Mode | None
    engine_state: str | None
    engine_turns: bool | None
    power: Value
    load: Value
    fuel: Value
    mains: bool | None
    mains_closed: bool | None
    generator_closed: bool | None
    at: int | None
    upload: int
    stale: bool
    last_login_at: int | None
    longitude: float | None
    latitude: float | None
    locked_by: str | None
    lock_reason: str | None


class FleetRow(Summary, frozen=True, gc=False, array_like=True):
    """The same as a JSON list of values, in the order of these fields."""


_Row = TypeVar("_Row", bound=Summary)

COLUMNS: tuple[str, ...] = Summary.__struct_fields__


def row_of_fleet(fleet: Fleet, device: Device) -> FleetRow:
    """A device as a list of values."""
    return _made(FleetRow, fleet, device)


def summary_of(fleet: Fleet, device: Device) -> Summary:
    """A device as an object."""
    return _made(Summary, fleet, device)


def _made(kind: type[_Row], fleet: Fleet, device: Device) -> _Row:
    record = fleet.live.record(device)
    profile, known = record.profile, record.known
    online = fleet.presence.online(device.hostid)
    alarms = fleet.alarms.open_alarms(device.hostid)
    severity = _worst(alarms)
    turns = profile.engine_turns(known)
    signals = profile.signal_by_name
    return kind(
        number=device.number,
        hostid=device.hostid,
        hostname=device.hostname,
        moduletype=device.moduletype,
        profile=profile.name,
        enabled=device.enabled,
        online=online,
        state=_state(online, severity, turns),
        alarms=len(alarms),
        severity=severity,
        mode=profile.mode(known),
        engine_state=profile.engine_state(known),
        engine_turns=turns,
        power=_value(profile, "active_power", known),
        load=_value(profile, "load", known),
        fuel=_value(profile, "fuel_level", known),
        mains=_signal(profile, signals, "mains_normal", known),
        mains_closed=_signal(profile, signals, "mains_on_load", known),
        generator_closed=_signal(profile, signals, "generator_on_load", known),
        at=record.at,
        upload=record.upload,
        stale=record.stale,
        last_login_at=device.last_login_at,
        longitude=device.wgs84_longitude,
        latitude=device.wgs84_latitude,
        locked_by=device.locked_by,
        lock_reason=device.lock_reason,
    )


def _state(online: bool, severity: AlarmSeverity | None, turns: bool | None) -> State:
    if not online:
        return "offline"
    if severity in ("alarm", "shutdown"):
        return "alarm"
    if turns is None:
        return "unknown"
    return "running" if turns else "standby"


def _worst(alarms: list[Alarm]) -> AlarmSeverity | None:
    if not alarms:
        return None
    there_are = {alarm.severity for alarm in alarms}
    return next(one for one in _WORST_FIRST if one in there_are)


def _value(profile: Profile, name: str, known: RegisterState) -> Value:
    point = profile.point_by_name.get(name)
    return None if point is None else profile.value(point, known)


def _signal(profile: Profile, signals: Mapping[str, Signal], name: str, known: RegisterState) -> bool | None:
    signal = signals.get(name)
    return None if signal is None else profile.signal_state(signal, known)
