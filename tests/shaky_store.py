"""A store for tests that is away, hangs, takes and does not say so, or refuses rows, as it is told."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from cmmd.store.interface import IStore, Snapshot, StoreError, StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Device, Query, Row

__all__ = ["AWAY", "LOST", "WELL", "ShakyStore"]

T = TypeVar("T")

WELL, AWAY, LOST = "well", "away", "lost"
"""It takes things; it does not; it does, and the confirmation gets lost."""


@implementer(IStore)
class ShakyStore(MemoryStore):
    """Nothing but its rows is left when it is closed, or its user dies.

    :ivar state: one of those above.
    :ivar held: what waits for :meth:`let_go`, in order; None: nothing has to.
    :ivar refuses: rows that it refuses by value.
    :ivar writes: what it has been asked to write, as it was carried out, well or not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = WELL
        self.held: deque[Callable[[], object]] | None = None
        self.refuses: Callable[[Row], bool] = lambda row: False
        self.writes: list[list[Row]] = []
        self.opened = 0
        self.is_open = False

    def hold(self) -> None:
        """Hang from now on."""
        self.held = deque()

    def let_go(self, how_many: int | None = None) -> None:
        """Carry out what hangs, in order. :param how_many: and hang on then; None: all of it, and hang no more."""
        assert self.held is not None
        while self.held and how_many != 0:
            self.held.popleft()()
            how_many = None if how_many is None else how_many - 1
        if how_many is None:
            self.held = None

    def die(self) -> None:
        """What hangs never comes: its user has died."""
        self.is_open = False
        if self.held is not None:
            self.held.clear()

    def open(self) -> Deferred[Snapshot]:
        assert not self.is_open, "it is open"
        if self.state != WELL:
            return fail(StoreUnavailable("it is away"))
        self.opened += 1
        self.is_open = True
        return super().open()

    def close(self) -> Deferred[None]:
        if self.held:
            self.let_go(len(self.held))
        self.is_open = False
        return super().close()

    def add_device(self, device: Device) -> Deferred[Device]:
        return self._ask(lambda: super(ShakyStore, self).add_device(device))

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        rows = list(rows)

        def work() -> Deferred[None]:
            self.writes.append(rows)
            for row in rows:
                if self.refuses(row):
                    return fail(StoreError(f"it does not want {type(row).__name__}"))
            return super(ShakyStore, self).write(rows)

        return self._ask(work)

    def remove_device(self, device: Device) -> Deferred[None]:
        return self._ask(lambda: super(ShakyStore, self).remove_device(device))

    def claim(self, writer: str) -> Deferred[None]:
        return self._ask(lambda: super(ShakyStore, self).claim(writer))

    def readings(self, query: Query) -> Deferred[Any]:
        return self._ask(lambda: super(ShakyStore, self).readings(query))

    def _ask(self, work: Callable[[], Deferred[T]]) -> Deferred[T]:
        assert self.is_open, "it is not open"
        if self.held is None:
            return self._carry_out(work)
        done: Deferred[T] = Deferred()
        self.held.append(lambda: self._carry_out(work).chainDeferred(done))
        return done

    def _carry_out(self, work: Callable[[], Deferred[T]]) -> Deferred[T]:
        if self.state == AWAY:
            return fail(StoreUnavailable("it is away"))
        outcome = work()
        if self.state == LOST:
            outcome.addErrback(lambda _: None)
            return fail(StoreUnavailable("the connection is lost"))
        return outcome
