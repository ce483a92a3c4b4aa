"""Settings of a single device that its owner decides, and their limits."""

from collections.abc import Mapping
from datetime import UTC, datetime

from cmmd.controllers.catalog import Catalog
from cmmd.controllers.evidence.hypotheses import BYTE_ORDER
from cmmd.controllers.evidence.memory import overrides_in
from cmmd.controllers.profile import Profile
from cmmd.fleet.errors import BadSetting, Locked
from cmmd.store.records import Device

__all__ = ["check_lock", "check_read_as", "check_setting"]


_NUMBERS: dict[str, tuple[float, float]] = {
    "history_interval": (1, 86_400),
    "data_mode": (0, 1),
    "online_rate": (100, 86_400_000),
    "offline_rate": (100, 86_400_000),
    "set_port": (0, 4),
    "set_baud": (0, 2),
}
"""Lowest and highest. All but the first are whole."""

LONGEST_READ_AS = 200
"""Characters of the setting ``read_as``."""

ORDERS = ("little", "big")

_LOCKED = ("set_port", "set_baud", "profile")
"""Settings that do at the next login what the maintenance lock refuses as a command. The first two switch the wiring
of the module, as `writeConfig` of a port does; a profile decides what a command writes, also what a stop writes."""


def check_lock(device: Device, changes: Mapping[str, object]) -> None:
    """Look whether the maintenance lock of a device refuses changes of its settings.

    :raises Locked: it is locked, and one of those that the lock holds would have another value.
    """
    held = {name: getattr(device, name) for name in _LOCKED}
    if device.locked_by is None or all(changes.get(name, now) == now for name, now in held.items()):
        return
    at = datetime.fromtimestamp((device.locked_at or 0) / 1000, UTC)
    raise Locked(f"locked by {device.locked_by} since {at:%Y-%m-%d %H:%M:%S} UTC: {device.lock_reason}")


def check_setting(name: str, value: object, catalog: Catalog) -> None:
    """Look at a setting before it is made.

    :param value: None puts it back, but for ``enabled`` and ``history``.
    :raises BadSetting: there is no such setting, or it cannot have this value; the text names it.
    """
    if name in ("enabled", "history"):
        if not isinstance(value, bool):
            raise BadSetting(f"{name}: true or false")
        return
    if name == "profile":
        if value is not None and (not isinstance(value, str) or catalog.profile(value) is None):
            raise BadSetting(f"profile: one of {', '.join(sorted(one.name for one in catalog))}")
        return
    if name == "read_as":
        if value is not None:
            _check_read_as(value, catalog)
        return
    if name not in _NUMBERS:
        raise BadSetting(f"{name}: there is no such setting"[:200])
    lowest, highest = _NUMBERS[name]
    whole = name != "history_interval"
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if value is not None and not (fits and lowest <= value <= highest):  # type: ignore[operator]
        raise BadSetting(f"{name}: {lowest} to {highest}{', whole' if whole else ''}")


def check_read_as(value: object, profile: Profile) -> None:
    """Look whether a profile has what a device is to be read by.

    :param value: as it was checked by :func:`check_setting`.
    :raises BadSetting: it has not.
    """
    said = overrides_in(value) if isinstance(value, str) else {}
    choices = {BYTE_ORDER: ORDERS, **{one.name: one.choices for one in profile.hypotheses.all}}
    for name, choice in said.items():
        if name not in choices:
            raise BadSetting(f"read_as: {profile.name} has no {name!r}, but {', '.join(choices)}"[:200])
        if choice not in choices[name]:
            raise BadSetting(f"read_as: {name} is one of {', '.join(choices[name])}"[:200])


def _check_read_as(value: object, catalog: Catalog) -> None:
    """Look at what a device is to be read by, whatever its profile is."""
    if not isinstance(value, str) or len(value) > LONGEST_READ_AS:
        raise BadSetting("read_as: text such as byte_order=big, scale=tenths")
    try:
        names = overrides_in(value)
    except ValueError as error:
        raise BadSetting(f"read_as: {error}"[:200]) from None
    known = {BYTE_ORDER, *(one.name for profile in catalog for one in profile.hypotheses.all)}
    for name in names:
        if name not in known:
            raise BadSetting(f"read_as: no profile has {name!r}"[:200])
