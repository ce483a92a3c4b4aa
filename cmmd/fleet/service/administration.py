"""Decisions of people about devices: enrolment, squatted hostids, maintenance locks, inputs that are cleared.

People beside the machine rely on locks and inputs: each change of one is an event, with who made it.
"""

from twisted.logger import Logger

from cmmd.fleet.commands.queue import Requester, who_text
from cmmd.fleet.devices.enrolment import POLICIES, Candidate
from cmmd.fleet.devices.inputs import INPUTS
from cmmd.fleet.errors import AdminOnly, BadArgument, Locked, TooManyWaiting, Unavailable, UnderWay, UnknownDevice
from cmmd.fleet.events import Kind
from cmmd.fleet.fleet import Fleet
from cmmd.fleet.service.records import CandidateRow, EnrolmentNow
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Device
from cmmd.wire.quoting import printable

__all__ = [
    "LONGEST_REASON",
    "approve",
    "clear_input",
    "enrolment_of",
    "forget",
    "lock",
    "reject",
    "reset_password",
    "set_policy",
    "unlock",
]

log = Logger()

# --- enrolment -------------------------------------------------------------------------------------------------------


def enrolment_of(fleet: Fleet) -> EnrolmentNow:
    """Give the policy in force and the devices that wait, the longest waiting first."""
    enrolment = fleet.registry.enrolment
    return EnrolmentNow(policy=enrolment.policy, waiting=[_row(fleet, one) for one in enrolment.candidates.all()])


def _row(fleet: Fleet, one: Candidate) -> CandidateRow:
    match = fleet.catalog.match(one.moduletype)
    return CandidateRow(
        hostid=one.hostid,
        hostname=one.hostname,
        moduletype=one.moduletype,
        profile=match.profile.name,
        profile_by=match.by,
        address=one.address,
        first_at=one.first_at,
        last_at=one.last_at,
        attempts=one.attempts,
        contested=one.contested,
    )


def set_policy(fleet: Fleet, policy: str, by: Requester) -> None:
    """Set the enrolment policy from now on, also after a restart.

    :raises AdminOnly: the caller is no administrator. :raises BadArgument: there is no such policy.
    """
    _require_admin(by)
    enrolment = fleet.registry.enrolment
    found = next((one for one in POLICIES if one == policy), None)
    if found is None:
        raise BadArgument(f"policy: one of {', '.join(POLICIES)}")
    before = enrolment.policy
    enrolment.set_policy(found)
    if before != found:
        details = {"before": before, "after": found, "by": who_text(by.requester), "door": by.door}
        fleet.events.emit(Kind.ENROLMENT_CHANGED, "", **details)


async def approve(fleet: Fleet, hostid: str, by: Requester) -> None:
    """Let a device in that waits; it has to show the password of its first login.

    :raises AdminOnly: the caller is no administrator. :raises UnknownDevice: it does not wait.
    :raises AlreadyEnrolled: it is registered. :raises RegistryFull: there are as many as there can be.
    :raises StoreUnavailable: see IStore.
    """
    _require_admin(by)
    candidate = fleet.registry.enrolment.candidates.get(hostid)
    if candidate is None:
        raise UnknownDevice("no such device waits")
    await fleet.registry.enrol(
        hostid,
        hostname=candidate.hostname,
        moduletype=candidate.moduletype,
        password_hash=candidate.password_hash,
    )
    log.info("approved {hostid}, by {who}", hostid=hostid, who=who_text(by.requester))


def reject(fleet: Fleet, hostid: str, by: Requester) -> None:
    """Let a device wait no more; it waits again when it comes again.

    :raises AdminOnly: the caller is no administrator. :raises UnknownDevice: it does not wait.
    """
    _require_admin(by)
    if not fleet.registry.enrolment.reject(hostid):
        raise UnknownDevice("no such device waits")


async def forget(fleet: Fleet, device: Device, by: Requester) -> None:
    """Let a device be unknown from now on; what was kept of it stays as long as everything else.

    :raises AdminOnly: the caller is no administrator. :raises Locked: the device is locked for maintenance.
    :raises UnderWay: commands of the device wait or are under way.
    :raises StoreUnavailable: it stays known, see IStore.
    """
    _require_admin(by)
    _look_at_commands(fleet, device.hostid)
    if device.locked_by is not None:
        raise Locked(f"locked by {device.locked_by}: {device.lock_reason}")
    await fleet.forget(device.hostid)
    who = who_text(by.requester)
    fleet.events.emit(Kind.DEVICE_FORGOTTEN, device.hostid, number=device.number, by=who, door=by.door)


async def reset_password(fleet: Fleet, device: Device, password: str | None, by: Requester) -> None:
    """Forget the password of a device and end its sessions: it has to log in anew.

    :param password: its new one; None: that of its next login.
    :raises AdminOnly: the caller is no administrator. :raises UnderWay: see :func:`forget`.
    :raises StoreUnavailable: nothing was changed, see IStore.
    """
    _require_admin(by)
    _look_at_commands(fleet, device.hostid)
    await fleet.registry.reset_password(device.hostid, password)
    for session in fleet.presence.sessions(device.hostid):
        session.close()
    fleet.events.emit(Kind.PASSWORD_RESET, device.hostid, by=who_text(by.requester), door=by.door)


def _require_admin(by: Requester) -> None:
    if not by.admin:
        raise AdminOnly("only an administrator decides which devices there are")


def _look_at_commands(fleet: Fleet, hostid: str) -> None:
    if fleet.dispatch.busy(hostid):
        raise UnderWay("commands of this device wait or are under way: let them end, or cancel them")


# --- locks and inputs ------------------------------------------------------------------------------------------------


LONGEST_REASON = 200
"""Characters of the reason of a maintenance lock."""


async def lock(fleet: Fleet, device: Device, reason: str, by: Requester) -> None:
    """Lock a device: nothing that may set something in motion is sent to it until it is unlocked.

    The caller who has locked it may lock it again, with another reason.

    :param reason: for everybody who looks at the device; 1 to :data:`LONGEST_REASON` characters.
    :raises BadArgument: there is no reason, or it is too long.
    :raises Locked: another caller has locked it.
    :raises Unavailable: it is locked from now on, and the store could not keep that yet.
    """
    who, reason = who_text(by.requester), printable(reason).strip()
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise BadArgument(f"reason: 1 to {LONGEST_REASON} characters")
    if device.locked_by not in (None, who):
        raise Locked(f"locked by {device.locked_by} already: {device.lock_reason}")
    try:
        await fleet.registry.lock(device.hostid, who, reason)
    except (StoreUnavailable, TooManyWaiting) as error:
        raise Unavailable(f"locked, but not kept yet, which is tried until it succeeds: {error}") from None
    finally:
        fleet.events.emit(Kind.DEVICE_LOCKED, device.hostid, by=who, door=by.door, reason=reason)


async def unlock(fleet: Fleet, device: Device, by: Requester) -> None:
    """Remove a maintenance lock; where there is none, nothing happens.

    :raises AdminOnly: another caller has locked it, and this one is no administrator.
    :raises StoreUnavailable: it stays locked, see IStore.
    """
    who = who_text(by.requester)
    if device.locked_by is None:
        return
    if device.locked_by != who and not by.admin:
        raise AdminOnly(f"locked by {device.locked_by}: they unlock it, or an administrator")
    await fleet.registry.unlock(device.hostid)
    fleet.events.emit(
        Kind.DEVICE_UNLOCKED,
        device.hostid,
        by=who,
        door=by.door,
        locked_by=device.locked_by,
        reason=device.lock_reason,
    )


async def clear_input(fleet: Fleet, device: Device, name: str, by: Requester) -> None:
    """Forget what a device last said of one of its own inputs, until it says it again.

    :param name: of the input, such as ``remote_inhibited``. Where nothing was said of it, nothing happens.
    :raises BadArgument: there is no such input.
    :raises AdminOnly: the caller is no administrator.
    :raises StoreUnavailable: it is forgotten, and written again until the store keeps that, see IStore.
    """
    found = next((one for one in INPUTS if one.name == name), None)
    if found is None:
        raise BadArgument(f"input: one of {', '.join(one.name for one in INPUTS)}")
    if not by.admin:
        raise AdminOnly("only an administrator clears an input")
    reports, who = fleet.live[device.hostid].reports, who_text(by.requester)
    report = None if reports is None else reports.by_name.get(name)
    if report is None:
        return
    durable = fleet.uploads.clear_input(device.hostid, found, f"cleared by {who}")
    fleet.events.emit(
        Kind.INPUT_CLEARED,
        device.hostid,
        input=name,
        by=who,
        door=by.door,
        said_at=report.said_at,
        address=report.address,
    )
    await durable
