"""What the owner may decide about a single device, and what it may be."""

from cmmd.controllers.catalog import Catalog

__all__ = ["BadSetting", "check_setting"]


class BadSetting(ValueError):
    """There is no such setting, or it cannot be this."""


_NUMBERS: dict[str, tuple[float, float]] = {
    "history_interval": (1, 86_400),
    "data_mode": (0, 1),
    "online_rate": (100, 86_400_000),
    "offline_rate": (100, 86_400_000),
    "set_port": (0, 4),
    "set_baud": (0, 2),
}
"""Lowest and highest. All but the first are whole."""


def check_setting(name: str, value: object, catalog: Catalog) -> None:
    """Look at a setting before it is made.

    :param value: None puts it back, but for ``enabled``.
    :raises BadSetting: see there; the text names it.
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
