"""Settings of a single device that its owner decides, and their limits."""

from collections.abc import Mapping
from datetime import UTC, datetime

from cmmd.controllers.catalog import Catalog
from cmmd.fleet.errors import BadSetting, Locked
from cmmd.store.records import Device

__all__ = ["check_lock", "check_setting"]


_NUMBERS: dict[str, tuple[float, float]] = {
    "history_interval": (1, 86_400),
    "data_mode": (0, 1),
    "online_rate": (100, 86_400_000),
    "offline_rate": (100, 86_400_000),
    "set_port": (0, 4),
    "set_baud": (0, 2),
}
"""Lowest and highest. All but the first are whole."""

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

    :param value: None puts it back, but for ``enabled``.
    :raises BadSetting: as its description says.; the text names it.
    """
    if name == "enabled":
        if not isinstance(value, bool):
            raise BadSetting("enabled: true or false")
        return
    if name == "profile":
        if value is not None and (not isinstance(value, str) or catalog.profile(value) is None):
            raise BadSetting(f"profile: one of {', '.join(sorted(one.name for one in catalog))}")
        return
    if name not in _NUMBERS:
        raise BadSetting(f"{name}: there is no such setting"[:200])
    lowest, highest = _NUMBERS[name]
    whole = name != "history_interval"
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if value is not None and not (fits and lowest <= value <= highest):  # type: ignore[operator]
        raise BadSetting(f"{name}: {lowest} to {highest}{', whole' if whole else ''}")
