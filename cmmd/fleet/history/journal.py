"""The way to the store: what is to be kept goes there in batches, in order."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.backoff import Backoff
from cmmd.fleet.counters.counters import Histogram
from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.store.interface import IStore, StoreUnavailable
from cmmd.store.records import Alarm, Event, LastUpload, Row

__all__ = ["BATCH_S", "MOST_IN_BATCH", "MOST_WAITING", "Journal"]

log = Logger()

BATCH_S = 0.01
"""Seconds that a row waits for others at most, before its batch is handed to the store."""

MOST_IN_BATCH = 100
"""Everybody who waits for a batch is told in the same turn of the reactor: more would hold it up, and gain little."""

MOST_WAITING = 50_000
"""Rows that may wait. Readings beyond that are refused, and events are lost. What replaces an older row of its kind
always has room: it is as many as there are devices and alarms. So have the few profile versions."""

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0

WRITE_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class _Waiting(NamedTuple):
    """A row, who waits for it to be durable, and whether it waits on where the store does not take it."""

    row: Row
    durable: Deferred[None] | None = None
    stays: bool = True


_Key = tuple[type, str | int]


def _key(row: Row) -> _Key | None:
    """Identify the row that a row replaces: of one key only the newest counts. None: no other row."""
    if isinstance(row, LastUpload):
        return LastUpload, row.hostid
    return (Alarm, row.number) if isinstance(row, Alarm) else None


class Journal:
    """Hands rows to the store: at most :data:`MOST_IN_BATCH` at once, one batch at a time, in the order they came.

    Last uploads and alarms replace older ones that wait. When the store does not take a batch, its readings are lost
    and those who wait for them hear it; all other rows go into the next attempt. Until one has gone through, new
    readings are refused at once.

    :param store: where rows go.
    :param clock: for the pace.
    :param random: for the pauses between attempts.
    :ivar up: whether the store took the last batch.
    :ivar lost: events that were given up because too many rows waited.
    :ivar write_seconds: how long the store took over each batch, whether it took it or not.
    """

    def __init__(self, store: IStore, clock: IReactorTime, random: Random | None = None) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._newest: dict[_Key, Row] = {}
        self._timer: IDelayedCall | None = None
        self._writing = False
        self._urgent = False
        self._backoff = Backoff(FIRST_RETRY_S, LONGEST_RETRY_S, random)
        self._drained: list[Deferred[None]] = []
        self._limit = LogLimit(clock)
        self.up = True
        self.lost = 0
        self.write_seconds = Histogram(WRITE_BOUNDS_S)

    def __len__(self) -> int:
        """Count the rows that wait."""
        return len(self._waiting) + len(self._newest)

    def add(self, row: Row) -> None:
        """Keep a row sooner or later; of rows that replace one another the newest."""
        key = _key(row)
        if key is not None:
            self._newest.pop(key, None)
            self._newest[key] = row
        elif isinstance(row, Event) and len(self._waiting) >= MOST_WAITING:
            self._lose(row)
        else:
            self._waiting.append(_Waiting(row))
        self._soon()

    def _lose(self, event: Event) -> None:
        self.lost += 1
        more = self._limit.allows("lost")
        if more is not None:
            log.error(
                "too many rows wait: event {kind} of {hostid} is lost{more}",
                kind=event.kind,
                hostid=event.hostid,
                more=more,
            )

    def add_durable(self, row: Row, *, urgent: bool = False, stays: bool = False) -> Deferred[None]:
        """Keep a row soon, or say that it is not kept.

        :param urgent: a caller waits for it: it is not held back for others to come along.
        :param stays: where the store does not take it now, it is kept sooner or later all the same.
        :return: fires when it is durable; fails with StoreUnavailable.
        """
        durable: Deferred[None] = Deferred()
        if not self.up or len(self._waiting) >= MOST_WAITING:
            if stays:
                self.add(row)
            durable.errback(StoreUnavailable("the store does not take anything now"))
            return durable
        self._waiting.append(_Waiting(row, durable, stays))
        if urgent and not self._writing:
            self._now()
        else:
            self._urgent = self._urgent or urgent
            self._soon()
        return durable

    def stop(self) -> Deferred[None]:
        """The end: write all that waits, and try no more.

        :return: fires when it is written; or when the store did not take it, which is logged.
        """
        return self.drain().addCallback(lambda _: self._say_what_is_lost())

    def _say_what_is_lost(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        kinds = Counter(type(one.row).__name__ for one in self._waiting)
        kinds.update(type(row).__name__ for row in self._newest.values())
        if kinds:
            lost = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            log.error("the store does not take what is left, which is lost: {lost}", lost=lost)

    def drain(self) -> Deferred[None]:
        """Write all that waits, now.

        :return: fires when it is written, or the store did not take it.
        """
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        self._now()
        return drained

    def _soon(self) -> None:
        if self._writing or not self.up:
            return  # the end of that batch, or the next attempt, takes it along
        if len(self) >= MOST_IN_BATCH:
            self._now()
        elif self._timer is None:
            self._timer = self._clock.callLater(BATCH_S, self._due)

    def _due(self) -> None:
        self._timer = None
        self._now()

    def _now(self) -> None:
        if self._writing:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._writing = True
        writing = Deferred.fromCoroutine(self._write())
        writing.addErrback(lambda failure: log.failure("while writing", failure=failure))

    async def _write(self) -> None:
        """Write a batch, and further ones while there are full ones or a caller waits for all of it."""
        try:
            while self or not self.up:  # where nothing waits, an empty batch tells whether the store is back
                self._urgent = False
                batch = self._next_batch()
                refused = await self._refused_of(batch)
                if refused is not None:
                    self._wait_for_the_store(refused)
                    return
                self._is_up()
                if len(self) < MOST_IN_BATCH and not self._drained and not self._urgent:
                    break
        finally:
            self._writing = False
        if self:
            self._soon()
        else:
            self._tell_drained()

    def _next_batch(self) -> list[_Waiting]:
        keys = list(islice(self._newest, MOST_IN_BATCH // 2))  # neither waits for an end of the others
        batch = [_Waiting(self._newest.pop(key)) for key in keys]
        room = min(MOST_IN_BATCH - len(batch), len(self._waiting))
        return [self._waiting.popleft() for _ in range(room)] + batch

    async def _refused_of(self, batch: Sequence[_Waiting]) -> Sequence[_Waiting] | None:
        """Write a batch; where a row in it is none that a store can take, which is our bug, the others all the same.

        :return: what is left because the store takes nothing now; None: it has taken all.
        """
        try:
            await self._measured_write([one.row for one in batch])
        except StoreUnavailable as error:
            self._is_down(error)
            return batch
        except Exception:
            if len(batch) > 1:
                for place, one in enumerate(batch):
                    if await self._refused_of([one]) is not None:
                        return batch[place:]
                return None
            log.failure("a row that cannot be kept: {row!r}", row=batch[0].row)
            _settle(batch, StoreUnavailable("it cannot be kept"))
        else:
            _settle(batch, None)
        return None

    async def _measured_write(self, rows: Sequence[Row]) -> None:
        begun = self._clock.seconds()
        try:
            await self._store.write(rows)
        finally:
            self.write_seconds.observe(self._clock.seconds() - begun)

    def _is_up(self) -> None:
        if not self.up:
            self.up = True
            self._backoff.reset()
            log.info("the store takes rows again; {waiting} wait", waiting=len(self))

    def _is_down(self, error: StoreUnavailable) -> None:
        if self.up:
            self.up = False
            log.error("the store does not take rows, trying again: {error}", error=error)

    def _wait_for_the_store(self, refused: Sequence[_Waiting]) -> None:
        waiting = [*refused, *self._waiting]
        self._waiting = deque()
        for one in waiting:
            if one.stays and (key := _key(one.row)) is not None:
                self._newest.setdefault(key, one.row)  # unless a newer one has come meanwhile
            elif one.stays:
                self._waiting.append(_Waiting(one.row))
        self._timer = self._clock.callLater(self._backoff.next(), self._due)
        _settle(waiting, StoreUnavailable("the store does not take anything now"))
        self._tell_drained()

    def _tell_drained(self) -> None:
        drained, self._drained = self._drained, []
        for one in drained:
            one.callback(None)


def _settle(batch: Iterable[_Waiting], error: StoreUnavailable | None) -> None:
    """Tell those who wait for rows."""
    for one in batch:
        if one.durable is not None:
            one.durable.callback(None) if error is None else one.durable.errback(error)
