"""The fleet as people and programs are told of it."""

from cmmd import __version__
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.devices.inputs import states
from cmmd.fleet.fleet import Fleet
from cmmd.fleet.service.records import CommandInfo, DeviceDetails, DeviceRow, Lock, RawRun, Settings, StatusNow
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.modbus.frames import Function
from cmmd.store.records import Device

__all__ = ["details_of", "lock_of", "raw_of", "row_of", "status_of"]


def status_of(fleet: Fleet, counters: Counters, now: int, started_at: int) -> StatusNow:
    """How the daemon does; times in milliseconds UTC."""
    health = fleet.store_health()
    return StatusNow(
        version=__version__,
        now=now,
        started_at=started_at,
        devices=len(fleet.registry),
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
    record = fleet.live[device.hostid]
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
    profile = fleet.live[device.hostid].profile
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
