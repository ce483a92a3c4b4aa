"""Signals: named coils; and what they and the engine's state say about the genset as a whole.

Source: the tables of docs/controllers.md.
"""

from typing import Annotated, Literal

from msgspec import Meta

from cmmd.controllers.fields import Address, Entry, Name, RegisterValue, Title

__all__ = ["ALARMING", "Engine", "Mode", "Severity", "Signal"]

Severity = Literal["alarm", "warning", "shutdown", "status", "mode", "inhibit"]
"""``alarm``, ``warning`` (the genset runs on) and ``shutdown`` (it stops) raise alarms; ``status`` says how things are;
``mode`` is the controller's mode; ``inhibit``: while it is set, the controller takes no remote control."""

ALARMING: frozenset[Severity] = frozenset(("alarm", "warning", "shutdown"))
"""The severities that raise alarms."""

Mode = Literal["stop", "manual", "auto", "test"]

States = Annotated[frozenset[RegisterValue], Meta(min_length=1)]


class Signal(Entry, frozen=True, kw_only=True):
    """A coil of ``[signals]`` in a profile.

    ``only_in_engine_states``: the raw engine states in which the coil means anything. A generator that stands still has
    no voltage: its undervoltage coil is set and says nothing. None: in all.
    """

    name: Name
    title: Title
    address: Address
    severity: Severity
    only_in_engine_states: States | None = None


class Engine(Entry, frozen=True, kw_only=True):
    """``[engine]``: which point holds the engine's state, and in which of its raw values the engine turns."""

    state: str
    turns: States
