"""Decode the points of a live record for people and programs, with every reading of what is not decided."""

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from cmmd.controllers.evidence.hypotheses import BYTE_ORDER
from cmmd.controllers.evidence.memory import recalled
from cmmd.controllers.evidence.resolved import readings_of
from cmmd.controllers.evidence.weighing import decided_choice, doubted, is_fixed
from cmmd.controllers.points import Point, Value
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.register_state import ORDERS, RegisterState
from cmmd.modbus.frames import Function

__all__ = ["HypothesisNow", "PointNow", "PossibleValue", "Quality", "hypotheses_of", "point_now"]

Quality = Literal["good", "stale", "undecided", "implausible", "unknown"]
"""``stale``: it need not be true any more: it is from before the last start, its frame did not come with the last
upload, or the device is offline. ``undecided``: it is not known yet how this device is to be read, and its readings
differ. ``implausible``: outside of what its profile holds for possible, or a counter that jumps. ``unknown``: no data,
or never heard of."""

_HOLDING_REGISTERS = Function.READ_HOLDING_REGISTERS


class PossibleValue(Struct, frozen=True, kw_only=True):
    """One reading of a point that is undecided; ``when``: what has to be so, such as ``scale=tenths``."""

    value: Value
    word: str | None
    when: str


class PointNow(Struct, frozen=True, kw_only=True):
    """A point: ``value`` in ``unit``, None where it is unknown; ``word``: what the value of a state is called.

    ``readings``: what it can be, where its quality is ``undecided``, and its value None.
    """

    name: str
    title: str
    unit: str
    value: Value
    word: str | None
    quality: Quality
    readings: tuple[PossibleValue, ...] = ()


class HypothesisNow(Struct, frozen=True, kw_only=True):
    """The state of one hypothesis about a device.

    :ivar choice: None: it is open. :ivar choices: all there are.
    :ivar by: ``uploads``: found out; ``admin``: set for this device; ``profile``: the profile says it; None: open.
    :ivar because: what decided it, as far as that is remembered. :ivar at: when, milliseconds UTC; None: not known.
    :ivar uploads: how many uploads ago that was; None: not known.
    :ivar contradicted: the last uploads speak against it, so that it does not count just now.
    :ivar reopened: how often it was decided and turned out to be otherwise.
    """

    name: str
    title: str
    choice: str | None
    choices: tuple[str, ...]
    by: Literal["uploads", "admin", "profile"] | None
    because: str
    at: int | None
    uploads: int | None
    contradicted: bool
    reopened: int


def hypotheses_of(record: LiveRecord) -> list[HypothesisNow]:
    """Say how a device is read, and since when: the byte order of its change uploads first."""
    profile, memory = record.profile, recalled(record.device.evidence)
    all_of_it: list[tuple[str, str, tuple[str, ...], int]] = [
        (BYTE_ORDER, "Byte order of change uploads", ORDERS, record.known.byte_order_state)
    ]
    all_of_it += [
        (one.name, one.title, one.choices, state)
        for one, state in zip(profile.hypotheses.all, record.states, strict=True)
    ]
    found = []
    for name, title, choices, state in all_of_it:
        decided, entry = decided_choice(state), memory.get(name)
        choice = None if decided is None else choices[decided]
        by: Literal["uploads", "admin", "profile"] | None = None if choice is None else "uploads"
        if is_fixed(state):
            by = "profile" if name == BYTE_ORDER and profile.definition.change_byte_order in ORDERS else "admin"
            entry = None
        elif entry is not None and entry.choice != (choice or ""):
            entry = None
        found.append(
            HypothesisNow(
                name=name,
                title=title,
                choice=choice,
                choices=choices,
                by=by,
                because="" if entry is None else entry.because,
                at=None if entry is None or not entry.at else entry.at,
                uploads=None if entry is None else max(record.upload - entry.upload, 0),
                contradicted=doubted(state),
                reopened=0 if entry is None else entry.reopened,
            )
        )
    return found


def point_now(record: LiveRecord, point: Point, before: RegisterState, *, online: bool) -> PointNow:
    """Decode a point of a live record.

    :param before: what is known from before only.
    :param online: whether the device is.
    """
    known, hidden = record.known, record.known.hidden
    if hidden is not None and not hidden.isdisjoint(point.addresses):
        registers = [known.image.register(_HOLDING_REGISTERS, address) for address in point.addresses]
        return _made(record, point, [("", registers)], "implausible")
    newest = list(_registers_now(known, point))
    if any(None not in registers for _, registers in newest):
        return _made(record, point, newest, "good" if online else "stale")
    return _made(record, point, [("", [before.register(address) for address in point.addresses])], "stale")


def _registers_now(known: RegisterState, point: Point) -> Iterator[tuple[str, list[int | None]]]:
    """The registers of a point as they are, or in both byte orders."""
    undecided = known.undecided
    swapped = [undecided is not None and undecided.register(_HOLDING_REGISTERS, one) for one in point.addresses]
    if undecided is None or all(one is None for one in swapped):
        yield "", [known.register(address) for address in point.addresses]
        return
    for order in ORDERS:
        registers = []
        for address in point.addresses:
            raw = undecided.register(_HOLDING_REGISTERS, address)
            if raw is not None and order == "big":
                raw = raw >> 8 | (raw & 0xFF) << 8
            registers.append(known.register(address) if raw is None else raw)
        yield f"{BYTE_ORDER}={order}", registers


def _made(
    record: LiveRecord, point: Point, candidates: Sequence[tuple[str, Sequence[int | None]]], quality: Quality
) -> PointNow:
    """Say what a point is where all of its readings agree, and what it can be where they do not."""
    profile = record.profile
    alternatives = profile.alternatives.get(point.name)
    found: list[tuple[PossibleValue, bool]] = []
    for order, registers in candidates:
        if alternatives is not None:
            found += [
                (PossibleValue(value=one.value, word=one.word, when=_both(order, one.when)), one.plausible)
                for one in readings_of(alternatives, registers)
            ]
        elif (value := point.value(registers)) is not None:
            word = profile.word(point, value)
            found.append((PossibleValue(value=value, word=word, when=order), point.plausible(value)))
    values = {(one.value, one.word) for one, _ in found}
    value, word = next(iter(values)) if len(values) == 1 and not _lacks_an_order(candidates, found) else (None, None)
    possible = tuple(one for one, plausible in found if plausible)
    readings: tuple[PossibleValue, ...] = ()
    if not found:
        quality = "unknown"
    elif quality == "implausible" or not possible:
        quality, readings = "implausible", () if value is not None else tuple(one for one, _ in found)
    elif value is None:
        quality, readings = "undecided", possible
    return PointNow(
        name=point.name,
        title=point.title,
        unit=point.unit,
        value=value,
        word=word,
        quality=quality,
        readings=readings,
    )


def _both(order: str, when: str) -> str:
    return f"{order}, {when}" if order else when


def _lacks_an_order(candidates: Sequence[object], found: Sequence[tuple[PossibleValue, bool]]) -> bool:
    """Tell whether a value is one in one byte order only: that does not decide the order."""
    return len(candidates) > 1 and len({one.when.partition(",")[0] for one, _ in found}) < len(candidates)
