"""Counters of two registers: which values are believed, and how the two words make a number.

A counter rises, and no faster than time. A value that does not follow from the one before is not believed: it may be a
glitch of the bus, or another controller. When the same has been said by :data:`NEW_BASE` uploads it is a new base.
"""

from collections.abc import Sequence
from struct import Struct as Layout
from struct import pack, unpack

from msgspec import Struct

from cmmd.controllers.evidence.hypotheses import Hypotheses, Known
from cmmd.controllers.evidence.weighing import DECISIVE, settled_choice
from cmmd.controllers.points import COUNTER_READINGS, NO_DATA, Point

__all__ = ["NEW_BASE", "Baseline", "CounterFinding", "Suspect", "judge_counters", "settled_choices"]

NEW_BASE = 5
"""Uploads in a row that must agree on a value which does not follow from the one before."""

_RETURN = 2
"""The uploads for a new value that one for the value before makes up for."""

SLACK = 2
"""Units that a counter may rise at once beside what time allows: minutes become hours, two starts meet."""

BINARY, DECIMAL = (COUNTER_READINGS.index(one) for one in COUNTER_READINGS)
_LAST_OF_DECIMAL = 9_999
_ROLLS_FROM, _ROLLS_TO = 9_900, 100
_UNKNOWN = 0x7FFE7FFE
_TIME = Layout(">q")
_HOUR_MS = 3_600_000


class Suspect(Struct, frozen=True):
    """A value that is not believed yet: its words, when it came (ms), and how many uploads in a row agree on it."""

    raw: int
    at: int
    count: int


class Baseline(Struct, frozen=True, gc=False):
    """The last words that were believed of each counter and each register of identity, packed, and when (ms).

    :ivar at: of the newest upload that was looked at.
    :ivar packed: 32 bits for each of them, in the order of Hypotheses. Where one was not believed then, when each was
        follows, 64 bits each: one that is missing has gone on rising since, and the others have not.
    """

    at: int
    packed: bytes

    def to_bytes(self) -> bytes:
        """Pack all of it, for the store."""
        return _TIME.pack(self.at) + self.packed

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Baseline | None":
        """Read what :meth:`to_bytes` made; None: it is something else."""
        if len(packed) < _TIME.size or (len(packed) - _TIME.size) % 4:
            return None
        return cls(_TIME.unpack_from(packed)[0], packed[_TIME.size :])

    @classmethod
    def of(cls, at: int, words: Sequence[int], times: Sequence[int]) -> "Baseline":
        """Pack the words of all of them, and when each was believed."""
        total = len(words)
        packed = pack(f">{total}I", *words)
        if times.count(at) == total or all(
            at == time for word, time in zip(words, times, strict=True) if word != _UNKNOWN
        ):
            return cls(at, packed)
        return cls(at, packed + pack(f">{total}q", *times))

    def unpack(self, total: int) -> tuple[list[int], list[int]] | None:
        """Give the words of all of them, and when each was believed (ms); None: they are of another profile."""
        size = 4 * total
        if len(self.packed) == size:
            return list(unpack(f">{total}I", self.packed)), [self.at] * total
        if len(self.packed) != 3 * size:
            return None
        return list(unpack(f">{total}I", self.packed[:size])), list(unpack(f">{total}q", self.packed[size:]))


class CounterFinding(Struct, frozen=True):
    """The findings about the counters of one upload.

    :ivar baseline: to go on from. :ivar suspects: by place; None: nothing is suspected.
    :ivar hidden: registers that are not to be believed now.
    :ivar rebased: places of counters that have a new base now, with the words before and after.
    :ivar other_controller: whether the identity, or several counters, say that it may be another controller.
    :ivar replaced: whether that has been seen often enough.
    :ivar votes: by number of hypothesis, choice, weight and reason.
    """

    baseline: Baseline
    suspects: tuple[Suspect | None, ...] | None
    hidden: frozenset[int] | None
    rebased: tuple[tuple[int, int, int], ...]
    other_controller: bool
    replaced: bool
    votes: tuple[tuple[int, int, int, str], ...]


def judge_counters(
    hypotheses: Hypotheses,
    choices: Sequence[int | None],
    known: Known,
    at: int,
    before: Baseline | None,
    suspects: tuple[Suspect | None, ...] | None,
) -> CounterFinding:
    """Look at all counters after an upload.

    :param choices: how each hypothesis is decided; None: open.
    :param known: what the upload has left in the image, with nothing hidden.
    :param at: when it came, in milliseconds.
    """
    counters, identity = hypotheses.counters, hypotheses.identity
    total = len(counters) + len(identity)
    was, since = (None if before is None else before.unpack(total)) or ([_UNKNOWN] * total, [at] * total)
    words, times = [*was], [*since]
    suspected: list[Suspect | None] = list(suspects) if suspects is not None else [None] * total
    returned: dict[int, Suspect] = {}
    rebased: list[tuple[int, int, int]] = []
    votes: list[tuple[int, int, int, str]] = []
    hidden: set[int] = set()
    replaced = False
    for place, (point, number) in enumerate(counters):
        high, low = known.register(point.address), known.register(point.address + 1)
        if high is None or low is None:
            continue
        raw = high << 16 | low
        readings = _readings(point, None if number is None else choices[number])
        if not any(one.believed((high, low)) is not None for one in readings):
            continue  # out of its range, or no data: no value, and no base either
        suspect, since_ms = suspected[place], max(at - times[place], 0)
        if words[place] == _UNKNOWN or _follows(readings, words[place], raw, since_ms):
            suspected[place] = None
            if suspect is not None:  # of a value and its return, which is the glitch?
                returned[place] = suspect
        elif suspect is not None and _follows(readings, suspect.raw, raw, max(at - suspect.at, 0)):
            suspected[place] = Suspect(suspect.raw, suspect.at, suspect.count + 1)
        else:
            suspected[place] = Suspect(raw, at, 1)
        suspect = suspected[place]
        if place in returned and returned[place].count > 1:
            hidden.update(point.addresses)
            suspected[place] = _less_sure(returned.pop(place))
            continue
        if suspect is not None:
            if suspect.count < NEW_BASE:
                hidden.update(point.addresses)
                continue
            rebased.append((place, words[place], raw))
            suspected[place] = None
        elif number is not None:
            votes += _votes(point, number, words[place], raw, since_ms)
        words[place], times[place] = raw, at
    for place, address in enumerate(identity, len(counters)):
        now, times[place] = known.register(address), at
        if now is None or now in NO_DATA:
            continue
        suspect = suspected[place]
        if now == words[place] or words[place] == _UNKNOWN or words[place] in NO_DATA:
            words[place], suspected[place] = now, None
        elif suspect is None or suspect.raw != now:
            suspected[place] = Suspect(now, at, 1)
        elif suspect.count + 1 < NEW_BASE:
            suspected[place] = Suspect(now, suspect.at, suspect.count + 1)
        else:
            words[place], suspected[place], replaced = now, None, True
    if returned and _other_controller(hypotheses, suspected):
        for place, suspect in returned.items():  # the others have not returned
            suspected[place] = suspect
            hidden.update(counters[place][0].addresses)
            words[place], times[place] = was[place], since[place]
        votes = [vote for vote in votes if vote[0] not in {counters[place][1] for place in returned}]
    return CounterFinding(
        baseline=Baseline.of(at, words, times),
        suspects=tuple(suspected) if any(suspected) else None,
        hidden=frozenset(hidden) or None,
        rebased=tuple(rebased),
        other_controller=_other_controller(hypotheses, suspected),
        replaced=replaced or len(rebased) > 1,
        votes=tuple(votes),
    )


def _less_sure(suspect: Suspect) -> Suspect:
    """Weigh a value that has returned to the one before: as long as several uploads have said otherwise, it waits."""
    return Suspect(suspect.raw, suspect.at, max(suspect.count - _RETURN, 1))


def settled_choices(
    hypotheses: Hypotheses, states: Sequence[int], suspects: Sequence[Suspect | None] | None
) -> tuple[int | None, ...]:
    """Give the choices by which a device is read: what is decided, and no variant while it may be another controller.

    :param states: of its hypotheses. :param suspects: its counters and registers of identity that are not believed.
    """
    variants = len(hypotheses.variants) if _other_controller(hypotheses, suspects or ()) else 0
    return (None,) * variants + tuple(map(settled_choice, states[variants:]))


def _other_controller(hypotheses: Hypotheses, suspects: Sequence[Suspect | None]) -> bool:
    doubtful = [place for place, suspect in enumerate(suspects) if suspect is not None]
    return len(doubtful) > 1 or any(place >= len(hypotheses.counters) for place in doubtful)


def _readings(point: Point, choice: int | None) -> tuple[Point, ...]:
    """A counter in each of the ways in which it may have to be read."""
    if point.reading != "auto":
        return (point,)
    names = COUNTER_READINGS if choice is None else COUNTER_READINGS[choice : choice + 1]
    return tuple(point.read_as(name) for name in names)


def _follows(readings: Sequence[Point], before: int, now: int, since_ms: int) -> bool:
    """Tell whether a value can come after another one, in any of its readings."""
    return any(_rises(one, before, now, since_ms) for one in readings)


def _rises(point: Point, before: int, now: int, since_ms: int) -> bool:
    old, new = point.believed((before >> 16, before & 0xFFFF)), point.believed((now >> 16, now & 0xFFFF))
    if old is None or new is None:
        return False
    most = (point.most_per_hour or 0) * since_ms / _HOUR_MS + SLACK * max(point.scale, 1.0)
    return 0 <= new - old <= most


def _votes(point: Point, number: int, before: int, now: int, since_ms: int) -> list[tuple[int, int, int, str]]:
    """Give what the words of a counter say about its reading."""
    low = now & 0xFFFF
    if low > _LAST_OF_DECIMAL:
        return [(number, BINARY, 1, f"low word {low}")]
    if before == _UNKNOWN or now >> 16 != (before >> 16) + 1:
        return []
    rolled = _ROLLS_FROM <= before & 0xFFFF <= _LAST_OF_DECIMAL and low < _ROLLS_TO
    if rolled and _rises(point.read_as("decimal"), before, now, since_ms):
        return [(number, DECIMAL, DECISIVE, f"low word {before & 0xFFFF}, then {low} with the high word one more")]
    return []
