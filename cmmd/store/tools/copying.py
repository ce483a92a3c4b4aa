"""Moving everything from one store into another: in batches, so that it can be interrupted, and compared at the end."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import Struct, msgpack
from twisted.internet.defer import CancelledError, Deferred, DeferredList, FirstError, gatherResults, succeed

from cmmd.store.interface import MOST_A_PAGE, IStore, Snapshot, StoreError
from cmmd.store.packing import pack_points
from cmmd.store.records import Cursor, Event, Numbers, Query, Reading, Row

__all__ = ["Compared", "Copied", "CopyRefused", "Step", "compare", "copy", "source_of"]

_MARK = "copy of "
"""Before the identity of the source: who writes to a target as long as it does not have everything."""

_HASH_BYTES = 16

_SAME = "both are the same store, or one is a copy of the other's file"


class CopyRefused(StoreError):
    """Nothing was copied: the target has something of its own."""


class Step(Struct, frozen=True):
    """The last finished step of a copy.

    :ivar phase: ``copying`` or ``comparing``.
    :ivar kind: of the records, as in Compared.
    :ivar records: how many.
    """

    phase: str
    kind: str
    records: int


class Compared(Struct, frozen=True, kw_only=True):
    """One kind of record on both sides.

    :ivar source: how many there; :ivar target: the same.
    :ivar source_hash: BLAKE2b of all of them in order, in hex; :ivar target_hash: the same.
    :ivar difference: the first one, in words; None: there is none.
    """

    kind: str
    source: int
    target: int
    source_hash: str
    target_hash: str
    difference: str | None


class Copied(Struct, frozen=True, kw_only=True):
    """The result of a copy.

    :ivar continued: whether it had been begun before.
    """

    continued: bool
    kinds: list[Compared]

    @property
    def same(self) -> bool:
        """Tell whether the target has what the source has, and nothing else."""
        return all(one.difference is None for one in self.kinds)


Tell = Callable[[Step], None]


class _Timed(NamedTuple):
    """A kind of record that is read page by page.

    :ivar find: the method of IStore that reads it.
    :ivar at: the time by which it is in order.
    :ivar changes: records of it may have changed since a copy of them was made.
    """

    kind: str
    find: Callable[[IStore], Callable[[Query], Deferred[list[Any]]]]
    at: Callable[[Any], int]
    changes: bool

    def place(self, record: Any) -> Cursor:
        return Cursor(self.at(record), record.number)

    def page(self, store: IStore, after: Cursor | None) -> Deferred[list[Any]]:
        return self.find(store)(Query(after=after, limit=MOST_A_PAGE))


_TIMED = (
    _Timed("alarms", attrgetter("alarms"), attrgetter("raised_at"), changes=True),
    _Timed("commands", attrgetter("commands"), attrgetter("accepted_at"), changes=True),
    _Timed("events", attrgetter("events"), attrgetter("at"), changes=False),
    _Timed("readings", attrgetter("readings"), attrgetter("at"), changes=False),
)


def source_of(writer: str) -> str | None:
    """Of which store this is an unfinished copy, by ``Snapshot.writer``; None: it is none."""
    return writer.removeprefix(_MARK) if writer.startswith(_MARK) else None


async def copy(source: IStore, target: IStore, tell: Tell) -> Copied:
    """Open both, bring everything over, compare, and close both.

    Interrupted at any point, and done again, it continues where it was. What tells how far it was is the target alone:
    its writer says that it is a copy, and of what, until both are the same. Its highest numbers come first: even who
    used it too early would not give a number twice.

    :param source: is not written to.
    :param tell: hears of each step, once it is done.
    :raises CopyRefused: the target has something of its own.
    :raises StoreError: as open, and as what is read and written.
    """
    if source is target:
        raise CopyRefused(_SAME)
    try:
        kept = await source.open()
        there = await target.open()
        continued = _is_continued(kept, there)
        await source.write([])  # nothing; but a database belongs to the one that has written to it
        await target.claim(_MARK + kept.identity)
        await _bring_kept(kept, target, tell)
        for timed in _TIMED:
            await _bring(timed, source, target, tell)
        await target.close()
        copied = Copied(continued=continued, kinds=await compare(source, kept, target, await target.open(), tell))
        if copied.same:
            await target.claim("")
        return copied
    finally:
        await _close(source, target)


async def _close(*stores: IStore) -> None:
    """Close the stores, after a cancellation too: an open store keeps its process from ending."""
    closed: Deferred[Any] = DeferredList([store.close() for store in stores], consumeErrors=True)
    while not closed.called:
        waiting: Deferred[None] = Deferred()
        closed.addBoth(_passed_on, waiting)
        with suppress(CancelledError):
            await waiting


def _passed_on(result: Any, waiting: Deferred[None]) -> Any:
    waiting.callback(None)
    return result


def _is_continued(kept: Snapshot, there: Snapshot) -> bool:
    """Tell whether the target is a copy that was begun before; if not, it is empty."""
    if kept.identity == there.identity:
        raise CopyRefused(_SAME)
    if source_of(kept.writer) is not None:
        raise CopyRefused("what should be copied is an unfinished copy itself")
    if not (there.devices or there.profiles or there.uploads) and there.numbers == Numbers():
        return False
    begun = source_of(there.writer)
    if begun is None:
        raise CopyRefused("where it should go is not empty, and no unfinished copy")
    if begun != kept.identity:
        raise CopyRefused("where it should go is an unfinished copy of another store")
    return True


# --- bringing --------------------------------------------------------------------------------------------------------


async def _bring_kept(kept: Snapshot, target: IStore, tell: Tell) -> None:
    """Copy the snapshot in one step."""
    for kind, rows in _kinds_of(kept):
        for first in range(0, len(rows), MOST_A_PAGE):
            some = rows[first : first + MOST_A_PAGE]
            await target.write(some)
            tell(Step("copying", kind, len(some)))


def _kinds_of(kept: Snapshot) -> tuple[tuple[str, Sequence[Row]], ...]:
    return (
        ("numbers", [kept.numbers]),
        ("profiles", sorted(kept.profiles, key=attrgetter("number"))),
        ("devices", sorted(kept.devices, key=attrgetter("number"))),
        ("uploads", sorted(kept.uploads, key=attrgetter("hostid"))),
    )


async def _bring(timed: _Timed, source: IStore, target: IStore, tell: Tell) -> None:
    """Copy a table page by page. The target has the beginning: pages are written in order, and whole."""
    after: Cursor | None = None
    if not timed.changes:
        newest = await timed.find(target)(Query(limit=1, newest_first=True))
        after = timed.place(newest[0]) if newest else None
    page = await timed.page(source, after)
    while page:
        following = timed.page(source, timed.place(page[-1]))  # is read while this one is written
        _, following_page = await _both(target.write(page), following)
        tell(Step("copying", timed.kind, len(page)))
        page = following_page


async def _both(one: Deferred[Any], other: Deferred[Any]) -> list[Any]:
    try:
        return await gatherResults([one, other], consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()


# --- comparing -------------------------------------------------------------------------------------------------------


async def compare(source: IStore, kept: Snapshot, target: IStore, there: Snapshot, tell: Tell) -> list[Compared]:
    """Compare two stores, kind by kind.

    :param kept: what the source had when it was opened; :param there: the same of the target.
    """
    compared = []
    for (kind, ours), (_, theirs) in zip(_kinds_of(kept), _kinds_of(there), strict=True):
        comparison = _Comparison(kind, _identified)
        comparison.add(ours, theirs)
        tell(Step("comparing", kind, len(ours)))
        compared.append(comparison.result())
    return compared + [await _compare(timed, source, target, tell) for timed in _TIMED]


async def _compare(timed: _Timed, source: IStore, target: IStore, tell: Tell) -> Compared:
    def next_page(store: IStore, last: list[Any]) -> Deferred[list[Any]]:
        return timed.page(store, timed.place(last[-1])) if last else succeed([])

    comparison = _Comparison(timed.kind, timed.place)
    ours, theirs = await _both(timed.page(source, None), timed.page(target, None))
    while ours or theirs:
        comparison.add(ours, theirs)
        tell(Step("comparing", timed.kind, len(ours)))
        ours, theirs = await _both(next_page(source, ours), next_page(target, theirs))
    return comparison.result()


class _Comparison:
    """Counts and hashes of one kind on both sides, as its records come, in order.

    :param place: by which records are in order.
    """

    def __init__(self, kind: str, place: Callable[[Any], Any]) -> None:
        self._kind = kind
        self._place = place
        self._counts = [0, 0]
        self._hashes = [blake2b(digest_size=_HASH_BYTES) for _ in range(2)]
        self._difference: str | None = None

    def add(self, ours: Sequence[Any], theirs: Sequence[Any]) -> None:
        """The next records; as many on both sides, unless one of them is at its end."""
        encoded = [[_encode(record) for record in side] for side in (ours, theirs)]
        for place, records in enumerate(encoded):
            self._counts[place] += len(records)
            self._hashes[place].update(b"".join(records))
        if self._difference is None and encoded[0] != encoded[1]:
            same = sum(1 for _ in _while_same(*encoded))
            self._difference = self._named(ours[same : same + 1], theirs[same : same + 1])

    def _named(self, ours: Sequence[Any], theirs: Sequence[Any]) -> str:
        if not theirs or (ours and self._place(ours[0]) < self._place(theirs[0])):
            return f"{_name(ours[0])} is missing"
        if not ours or self._place(theirs[0]) < self._place(ours[0]):
            return f"{_name(theirs[0])} should not be there"
        differing = [name for name in ours[0].__struct_fields__ if _value(ours[0], name) != _value(theirs[0], name)]
        return f"{_name(ours[0])} differs in {', '.join(differing)}"

    def result(self) -> Compared:
        return Compared(
            kind=self._kind,
            source=self._counts[0],
            target=self._counts[1],
            source_hash=self._hashes[0].hexdigest(),
            target_hash=self._hashes[1].hexdigest(),
            difference=self._difference,
        )


def _while_same(ours: Iterable[bytes], theirs: Iterable[bytes]) -> Iterable[None]:
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            return
        yield


def _identified(record: Any) -> object:
    """By what records that come all at once are in order."""
    return 0 if isinstance(record, Numbers) else getattr(record, "number", None) or record.hostid


def _name(record: Any) -> str:
    if isinstance(record, Numbers):
        return "it"
    return f"number {record.number}" if hasattr(record, "number") else record.hostid


def _value(record: Any, name: str) -> object:
    """Normalise a field for comparison: points in single precision, numbers as numbers."""
    value = getattr(record, name)
    match record, name:
        case Reading(), "points":
            return pack_points([None if point is None else point + 0.0 for point in value])  # -0.0 is 0.0
        case Event(), "details":
            return {key: _plain_number(detail) for key, detail in value.items()}
    return _plain_number(value)


def _encode(record: Any) -> bytes:
    """A record as what counts of it."""
    return msgpack.encode([_value(record, name) for name in record.__struct_fields__], order="deterministic")


def _plain_number(value: object) -> object:
    """Normalise a whole number that is not too long: JSON can return 3.0 as 3, or 1e16 without a point."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value
