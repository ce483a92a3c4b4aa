"""Variants as a profile file has them: tables by name, which become lists, and lose what an extension leaves out."""

from collections.abc import Collection
from typing import Any

from cmmd.controllers.entries import ProfileError

__all__ = ["named_in", "with_choices", "without"]

_Table = dict[str, Any]


def with_choices(variant: str, table: _Table) -> _Table:
    """Give the table of a variant with its choices as a list, each with its name, and theirs the same way.

    :raises ProfileError: a table is something else.
    """
    choices = table.get("choices")
    if not isinstance(choices, dict):
        raise ProfileError(f"variants.{variant}.choices: not a table")
    return {**table, "choices": [_choice(f"variants.{variant}.choices", *pair) for pair in choices.items()]}


def _choice(key: str, name: str, table: Any) -> _Table:
    if not isinstance(table, dict):
        raise ProfileError(f"{key}.{name}: not a table")
    choice = {"name": name, **table}
    for kind in ("enums", "signals"):
        if kind in table:
            entries = table[kind]
            if not isinstance(entries, dict) or not all(isinstance(one, dict) for one in entries.values()):
                raise ProfileError(f"{key}.{name}.{kind}: not a table of tables")
            choice[kind] = [
                {"name": entry, "words": one} if kind == "enums" else {"name": entry, **one}
                for entry, one in entries.items()
            ]
    return choice


def named_in(base: _Table) -> set[str]:
    """Give the names of all signals that the choices of a profile's variants have."""
    return {
        signal
        for variant in base.get("variants", {}).values()
        for choice in variant.get("choices", {}).values()
        for signal in choice.get("signals", ())
    }


def without(variants: _Table, left_out: Collection[str]) -> _Table:
    """Give variants without some points and signals, and without the rules that look at them."""
    return {name: _variant_without(table, left_out) for name, table in variants.items()}


def _variant_without(table: _Table, left_out: Collection[str]) -> _Table:
    looks_at = [({*rule.get("points", ()), *rule.get("signals", ())}, rule) for rule in table.get("tells", ())]
    choices = {
        name: {
            **choice,
            **{
                kind: {one: entry for one, entry in choice[kind].items() if one not in left_out}
                for kind in ("points", "signals")
                if kind in choice
            },
        }
        for name, choice in table.get("choices", {}).items()
    }
    return {**table, "tells": [rule for names, rule in looks_at if names.isdisjoint(left_out)], "choices": choices}
