"""Decisions of an operator on which devices there are: the policy, the queue, squatted hostids."""

from twisted.logger import Logger

from cmmd.fleet.commands.queue import Requester, who_text
from cmmd.fleet.devices.enrolment import POLICIES
from cmmd.fleet.errors import AdminOnly, BadArgument, Locked, UnderWay, UnknownDevice
from cmmd.fleet.events import Kind
from cmmd.fleet.fleet import Fleet
from cmmd.fleet.service.records import CandidateRow, EnrolmentNow
from cmmd.store.records import Device

__all__ = ["approve", "enrolment_of", "forget", "reject", "reset_password", "set_policy"]

log = Logger()


def enrolment_of(fleet: Fleet) -> EnrolmentNow:
    """Give the policy in force and the devices that wait, the longest waiting first."""
    enrolment = fleet.registry.enrolment
    names = CandidateRow.__struct_fields__
    waiting = [CandidateRow(**{name: getattr(one, name) for name in names}) for one in enrolment.candidates.all()]
    return EnrolmentNow(policy=enrolment.policy, waiting=waiting)


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
    if fleet.dispatch.has_any(hostid):
        raise UnderWay("commands of this device wait or are under way: let them end, or cancel them")
