"""The way to the store: what is to be kept is written there in batches, in order."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.backoff import Backoff
from cmmd.fleet.counters.counters import Histogram
from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.store.interface import IStore, StoreUnavailable
from cmmd.store.records import Alarm, Event, LastUpload, Row

__all__ = ["BATCH_S", "MOST_IN_BATCH", "MOST_WAITING", "RECORD_S", "Journal"]

log = Logger()

BATCH_S = 0.01
"""Seconds that a row waits for others at most, before its batch is handed to the store."""

MOST_IN_BATCH = 100
"""All who wait for a batch are answered in the same turn of the reactor: more would hold it up, and gain little."""

MOST_WAITING = 50_000
"""Rows that may wait. Readings beyond that are refused, and events are lost. What replaces an older row of its kind
always has room: it is as many as there are devices and alarms. So have the few profile versions."""

RECORD_S = 5.0
"""Seconds that an answer waits until it is durable; then it is told as not recorded."""

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0

WRITE_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class _Waiting(NamedTuple):
    """A row, who waits for it to be durable, and whether it waits on where the store does not take it.

    :ivar serial: the place of the row, or of the oldest one that it has replaced, among all that have come.
    """

    row: Row
    serial: int
    durable: Deferred[None] | None = None
    stays: bool = True


class _Barrier(NamedTuple):
    """A caller waits until all rows up to a serial are durable."""

    serial: int
    told: Deferred[bool]
    patience: IDelayedCall

    def tell(self, recorded: bool) -> None:
        """Tell whether they are."""
        if self.patience.active():
            self.patience.cancel()
        self.told.callback(recorded)


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
        self._newest: dict[_Key, _Waiting] = {}  # in the order of their serials
        self._in_flight: Sequence[_Waiting] = ()
        self._serial = 0
        self._lost_serial = 0  # of the last row that will never be durable
        self._barriers: deque[_Barrier] = deque()
        self._hangs = False  # a barrier has waited in vain, and the store has not answered since
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
        self._serial += 1
        key = _key(row)
        if key is not None:
            older = self._newest.get(key)  # keeps its place: what is replaced again and again has its turn, too
            self._newest[key] = _Waiting(row, self._serial if older is None else older.serial)
        elif isinstance(row, Event) and len(self._waiting) >= MOST_WAITING:
            self._lose(row)
        else:
            self._waiting.append(_Waiting(row, self._serial))
        self._soon()

    def _lose(self, event: Event) -> None:
        self.lost += 1
        self._never_durable(self._serial)
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
        self._serial += 1
        self._waiting.append(_Waiting(row, self._serial, durable, stays))
        if urgent:
            self._hurry()
        else:
            self._soon()
        return durable

    def _hurry(self) -> None:
        """Write what waits now, or directly behind the batch that is being written."""
        if self._writing:
            self._urgent = True
        else:
            self._now()

    def recorded(self) -> Deferred[bool]:
        """Wait until all that was to be kept so far is durable: no caller is told of a change before.

        :return: fires with True then; with False where the store does not take it, or does not answer within
            :data:`RECORD_S`. Nothing is given up by that: rows other than readings are kept sooner or later.
        """
        if self._lost_serial and self._lost_serial == self._serial:
            return succeed(False)
        if not self and not self._in_flight:
            return succeed(True)
        if not self.up or self._hangs:
            return succeed(False)
        told: Deferred[bool] = Deferred()
        self._barriers.append(_Barrier(self._serial, told, self._clock.callLater(RECORD_S, self._hanging)))
        self._hurry()
        return told

    def _hanging(self) -> None:
        """The oldest barrier has waited long enough. So have all others: they wait for the same store."""
        self._hangs = True
        self._tell_barriers(False)

    def _tell_barriers(self, recorded: bool, before: int | None = None) -> None:
        """Tell those who wait for rows up to a serial; None: all."""
        while self._barriers and (before is None or self._barriers[0].serial < before):
            self._barriers.popleft().tell(recorded)

    def _passed(self) -> None:
        """A batch, or a part of it, has been kept: tell those who have waited for no more than that."""
        self._hangs = False
        if self._barriers:
            oldest = [one.serial for one in (*self._in_flight, *islice(self._waiting, 1))]
            oldest += [one.serial for one in islice(self._newest.values(), 1)]
            # Where nothing waits: up to now. One who is told can add rows, and wait behind them.
            self._tell_barriers(True, before=min(oldest, default=self._serial + 1))

    def _never_durable(self, serial: int) -> None:
        """A row is lost. Those who wait for it are told so, with all who have come later."""
        self._lost_serial = max(self._lost_serial, serial)
        behind: list[_Barrier] = []
        while self._barriers and self._barriers[-1].serial >= serial:
            behind.append(self._barriers.pop())
        for barrier in reversed(behind):
            barrier.tell(False)

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
        kinds.update(type(one.row).__name__ for one in self._newest.values())
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
                batch = self._in_flight = self._next_batch()
                refused = await self._refused_of(batch)
                self._in_flight = ()
                if refused is not None:
                    self._wait_for_the_store(refused)
                    return
                self._is_up()
                self._passed()
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
        batch = [self._newest.pop(key) for key in keys]
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
            self._never_durable(batch[0].serial)
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
        replaced: dict[_Key, _Waiting] = {}
        for one in waiting:
            if one.stays and (key := _key(one.row)) is not None:
                replaced[key] = one
            elif one.stays:
                self._waiting.append(_Waiting(one.row, one.serial))
        for key, newer in self._newest.items():  # which have come meanwhile, and take over the place of an older one
            replaced[key] = newer._replace(serial=replaced.get(key, newer).serial)
        self._newest = replaced
        self._timer = self._clock.callLater(self._backoff.next(), self._due)
        self._hangs = False
        self._tell_barriers(False)
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
