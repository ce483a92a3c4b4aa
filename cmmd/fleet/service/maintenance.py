"""Maintenance locks, and reports of inputs that an administrator clears: people beside the machine rely on them."""

from cmmd.fleet.commands.queue import Requester, who_text
from cmmd.fleet.devices.inputs import INPUTS
from cmmd.fleet.errors import AdminOnly, BadArgument, Locked, TooManyWaiting, Unavailable
from cmmd.fleet.events import Kind
from cmmd.fleet.fleet import Fleet
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Device
from cmmd.wire.quoting import printable

__all__ = ["LONGEST_REASON", "clear_input", "lock", "unlock"]

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
