"""Variants of a profile: firmware that gives the same registers and coils another meaning, and how to tell.

Source: docs/controllers.md, "Variants"; the facts are those of the papers and installations that the profiles name.
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType, field

from cmmd.controllers.entries import Entry, Name, RegisterValue, Signal, States, Title
from cmmd.controllers.points import Enum

__all__ = ["Choice", "PointChange", "Rule", "Variant"]

RawRange = tuple[RegisterValue, RegisterValue]
"""Lowest and highest content of a register, both included."""


class Rule(Entry, frozen=True, kw_only=True):
    """An observation: an upload in which all of this is so speaks for the choice that ``says`` names.

    ``points``: raw ranges by the name of a point with one register. ``signals``: signals whose coils are set; also
    those that only a choice names. ``only_in_engine_states``: the raw engine states in which it counts; None: in all.
    """

    says: Name
    points: dict[Name, RawRange] = field(default_factory=dict)
    signals: tuple[Name, ...] = ()
    only_in_engine_states: States | None = None


class PointChange(Entry, frozen=True, kw_only=True):
    """Changes of a point of the profile; what is left out stays.

    ``plausible`` counts once the choice is decided. Until then the profile's range does: a narrow one must not decide
    by a single value.
    """

    scale: Annotated[float, Meta(ge=1e-6, le=1e6)] | UnsetType = UNSET
    plausible_range: tuple[float, float] | UnsetType = field(name="plausible", default=UNSET)
    zero_is_plausible: bool | UnsetType = UNSET


class Choice(Entry, frozen=True, kw_only=True):
    """``[variants.NAME.choices.CHOICE]``: what the registers and coils mean where the variant is this one.

    ``points``: changes of points of the profile. ``enums``: words that take the place of the profile's. ``signals``:
    coils that only this choice names.
    """

    name: Name
    title: Title
    points: dict[Name, PointChange] = field(default_factory=dict)
    enums: tuple[Enum, ...] = ()
    signals: tuple[Signal, ...] = ()


class Variant(Entry, frozen=True, kw_only=True):
    """``[variants.NAME]``: the choices of which a device has one, and the rules that tell which."""

    name: Name
    title: Title
    tells: tuple[Rule, ...] = ()
    choices: Annotated[tuple[Choice, ...], Meta(min_length=2, max_length=7)]
