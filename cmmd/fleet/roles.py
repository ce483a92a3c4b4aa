"""The roles that callers have at the doors of people and programs, from the least to the most."""

from typing import Literal

__all__ = ["ROLES", "Role", "may"]

Role = Literal["viewer", "operator", "engineer", "admin"]
"""``viewer`` reads; ``operator`` also commands devices and acknowledges alarms; ``engineer`` also writes raw Modbus
frames; ``admin`` also changes devices.
"""

ROLES: tuple[Role, ...] = ("viewer", "operator", "engineer", "admin")


def may(role: Role, needed: Role) -> bool:
    """Tell whether a role has all that another one has."""
    return ROLES.index(role) >= ROLES.index(needed)
