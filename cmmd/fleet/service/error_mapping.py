"""Which of our codes stands for what the fleet raises."""

from cmmd.fleet.alarms.alarms import NoSuchAlarm
from cmmd.fleet.commands.queue import NoSuchCommand, TooLate
from cmmd.fleet.commands.uids import NoUidLeft
from cmmd.fleet.devices.keyed_lock import TooManyWaiting
from cmmd.fleet.devices.passwords import TooBusy
from cmmd.fleet.devices.registry import AlreadyEnrolled, BadSetting, HostIdInvalid, NoSuchDevice, RegistryFull
from cmmd.fleet.history.history import NoSuchPoint
from cmmd.fleet.service import errors
from cmmd.store.interface import StoreUnavailable

__all__ = ["refusal"]

_KINDS: dict[type[Exception], tuple[type[errors.Coded], str]] = {
    NoSuchAlarm: (errors.NoSuchAlarm, "no alarm {} is open"),
    NoSuchCommand: (errors.NoSuchCommand, "no command {} is under way"),
    TooLate: (errors.TooLate, "command {} has been sent"),
    NoSuchPoint: (errors.NoSuchPoint, "there was never a point {}"),
    NoSuchDevice: (errors.UnknownDevice, "no such device is registered"),
    AlreadyEnrolled: (errors.AlreadyEnrolled, "{}"),
    HostIdInvalid: (errors.BadArgument, "hostid: {}"),
    BadSetting: (errors.BadArgument, "changes: {}"),
    RegistryFull: (errors.RegistryFull, "no more devices are taken"),
    NoUidLeft: (errors.QueueFull, "too many commands are under way"),
    TooBusy: (errors.Unavailable, "too many passwords are being computed"),
    TooManyWaiting: (errors.Unavailable, "too much waits for this device"),
    StoreUnavailable: (errors.Unavailable, "the store cannot work now: {}"),
}


def refusal(error: BaseException | None) -> errors.Coded | None:
    """What to answer instead of an exception of the fleet; None: it is a bug."""
    if isinstance(error, errors.Coded):
        return error
    for kind in type(error).__mro__:
        found = _KINDS.get(kind)
        if found is not None:
            ours, text = found
            return ours(text.format(error))
    return None
