"""Decode readings anew that were kept while it was not known how their device is to be read.

Readings have the raw words of their upload. Once a hypothesis is decided, the points of the readings since the oldest
undecided one are made again. It is remembered by what that was done to its end, so that a restart goes on with what was
not. A reading from before a hypothesis was last re-opened is decoded where its own words speak for what is decided now.
Nothing is decoded from before the device was last found to be another than it was: which of two controllers said that
is not known, so that it stays undecided.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cmmd.controllers.evidence.counters import Baseline, CounterFinding, Suspect, judge_counters
from cmmd.controllers.evidence.hypotheses import BYTE_ORDER
from cmmd.controllers.evidence.memory import history_read, reopened_times
from cmmd.controllers.profile import Profile
from cmmd.fleet.history.history import History
from cmmd.fleet.history.journal import Journal
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.register_state import CertainRegisters, RegisterState
from cmmd.modbus.frames import Function
from cmmd.modbus.image import ImageError, RegisterImage
from cmmd.store.interface import IStore, StoreError, StoreUnavailable
from cmmd.store.records import Cursor, Device, Query, Reading, Redecoded

__all__ = ["PAGE", "PAUSE_S", "RETRY_S", "Rereading"]

log = Logger()

_HOLDING_REGISTERS = Function.READ_HOLDING_REGISTERS

PAGE = 100
"""Readings that are decoded at once: some milliseconds of the reactor's time."""

BEFORE = 8
"""Readings before the oldest undecided one, of which the last with values says what its counters follow from."""

PAUSE_S = 0.1
RETRY_S = 60.0
"""Between two attempts while the store does not take anything, or rows wait elsewhere for it."""


class Rereading:
    """Decodes the readings of one device after the other.

    :param store: has the readings; :param journal: may have some of them still; :param backlog: rows that wait
        elsewhere for the store.
    :param history: knows the versions of profiles.
    :param record: gives the live record of a device; None: there is no such device.
    :param keep_oldest: makes durable since when a device has undecided readings; None: it has none.
    :param keep_read: the same, with what was decided when its history was read to the end.
    :param clock: for the pace.
    """

    def __init__(
        self,
        *,
        store: IStore,
        journal: Journal,
        backlog: Callable[[], int],
        history: History,
        record: Callable[[str], LiveRecord | None],
        keep_oldest: Callable[[str, int | None], Deferred[None]],
        keep_read: Callable[[str, int | None, str], Deferred[None]],
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._journal = journal
        self._backlog = backlog
        self._history = history
        self._record = record
        self._keep_oldest = keep_oldest
        self._keep_read = keep_read
        self._clock = clock
        self._marked: dict[str, int] = {}  # of devices whose record does not say so yet
        self._reopened: dict[str, dict[str, int]] = {}  # by hostid and hypothesis, when (ms)
        self._wanted: dict[str, None] = {}
        self._working: Deferred[None] | None = None
        self._again: IDelayedCall | None = None
        self._stopped = False

    # --- what is to be done ------------------------------------------------------------------------------------------

    def kept_undecided(self, hostid: str, at: int) -> None:
        """Note that a reading was kept that has undecided values.

        :param at: its time, milliseconds UTC.
        """
        oldest = self._oldest(hostid)
        if oldest is None or at < oldest:
            self._marked[hostid] = at
            self._keep(hostid, at)

    def cut(self, hostid: str) -> None:
        """Leave the readings so far undecided for good: the device is another than it was."""
        self._marked.pop(hostid, None)
        self._wanted.pop(hostid, None)
        record = self._record(hostid)
        if record is not None and record.device.oldest_undecided_at is not None:
            self._keep(hostid, None)

    def reopened(self, hostid: str, hypothesis: str, at: int) -> None:
        """Note that something about a device is open again: what was kept before may have been said otherwise.

        :param at: when, milliseconds UTC.
        """
        self._reopened.setdefault(hostid, {})[hypothesis] = at

    def go_on(self, device: Device) -> None:
        """Go on, after a start, where something was decided by which the history was not read to its end."""
        if device.oldest_undecided_at is not None:
            record = self._record(device.hostid)
            if record is not None and _decided(record) != history_read(device.evidence):
                self.want(device.hostid)

    def want(self, hostid: str) -> None:
        """Read the undecided readings of a device anew, soon."""
        if self._oldest(hostid) is not None and not self._stopped:
            self._wanted[hostid] = None
            self._go_on()

    def stop(self) -> None:
        """Stop between two pages; the next start continues."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._working is not None:
            self._working.cancel()

    def _oldest(self, hostid: str) -> int | None:
        record, marked = self._record(hostid), self._marked.get(hostid)
        kept = None if record is None else record.device.oldest_undecided_at
        return kept if marked is None else marked if kept is None else min(marked, kept)

    def _keep(self, hostid: str, at: int | None) -> None:
        def kept(_: None) -> None:
            if at is not None and self._marked.get(hostid) == at:
                del self._marked[hostid]

        keeping = self._keep_oldest(hostid, at).addCallback(kept)
        keeping.addErrback(lambda failure: failure.trap(StoreError) and None)  # the mark stays in memory

    # --- one device after the other ----------------------------------------------------------------------------------

    def _go_on(self) -> None:
        if self._working is None and self._again is None and self._wanted:
            working = self._working = Deferred.fromCoroutine(self._work())
            working.addErrback(self._ended).addCallback(self._rest)

    def _ended(self, failure: object) -> None:
        error = getattr(failure, "value", None)
        if isinstance(error, StoreError):
            self._again = self._clock.callLater(RETRY_S, self._once_more)
        elif not isinstance(error, CancelledError):
            log.failure("while reading history anew", failure=failure)  # type: ignore[arg-type]

    def _once_more(self) -> None:
        self._again = None
        self._go_on()

    def _rest(self, _: None) -> None:
        self._working = None
        if not self._stopped:
            self._go_on()

    async def _work(self) -> None:
        hostid = next(iter(self._wanted))
        await deferLater(self._clock, PAUSE_S)
        await self._journal.drain()
        if self._backlog():
            raise StoreUnavailable("rows wait elsewhere for it")
        if hostid not in self._wanted:
            return
        del self._wanted[hostid]
        try:
            await self._reread(hostid)
        except StoreError:
            self._wanted[hostid] = None
            raise

    async def _reread(self, hostid: str) -> None:
        record, since = self._record(hostid), self._oldest(hostid)
        if since is None or record is None:
            return
        profile, decided = record.profile, _decided(record)
        reopened = {**reopened_times(record.device.evidence), **self._reopened.get(hostid, {})}
        decoder = _Decoder(record, reopened)
        version = self._history.version(profile)
        await self._journal.drain()  # the version is there before readings that have it
        before = await self._store.readings(Query(hostid=hostid, until=since, limit=BEFORE, newest_first=True))
        decoder.begin([one for one in before if self._history.is_of(one.profile, profile)])
        names = tuple(profile.point_by_name)
        after: Cursor | None = None
        still_undecided: int | None = None
        count = 0
        while True:
            readings = await self._store.readings(Query(hostid=hostid, since=since, after=after, limit=PAGE))
            anew: list[Redecoded] = []
            of_profile = [one for one in readings if self._history.is_of(one.profile, profile)]
            for place, reading in enumerate(of_profile, 1):
                places = self._history.places(reading.profile, names)
                points, undecided = decoder.decode(reading, places, of_profile[place:])
                if undecided and not decoder.reopened_since(reading) and still_undecided is None:
                    still_undecided = reading.at
                if points is not None and points != reading.points:
                    anew.append(Redecoded(number=reading.number, at=reading.at, profile=version, points=points))
            if record.profile is not profile or self._oldest(hostid) != since:
                self.want(hostid)  # something was decided, or opened, meanwhile
                return
            if anew:
                await self._store.redecode(anew)
                count += len(anew)
            if len(readings) < PAGE:
                break
            after = Cursor(readings[-1].at, readings[-1].number)
            await deferLater(self._clock, PAUSE_S)
        if still_undecided != since or decided != history_read(record.device.evidence):
            self._marked.pop(hostid, None)
            keeping = self._keep_read(hostid, still_undecided, decided)
            keeping.addErrback(lambda failure: failure.trap(StoreError) and None)  # the next start reads once more
        if count:
            log.info("{count} readings of {hostid} are decoded anew", count=count, hostid=hostid)


def _decided(record: LiveRecord) -> str:
    """Write down how a device is read: ``byte_order=big,scale=tenths``; empty: all is open."""
    found: dict[str, str] = {}
    if record.known.byte_order is not None:
        found[BYTE_ORDER] = record.known.byte_order
    for hypothesis, choice in zip(record.profile.hypotheses.all, record.profile.choices, strict=True):
        if choice is not None:
            found[hypothesis.name] = hypothesis.choices[choice]
    return ",".join(f"{name}={choice}" for name, choice in found.items())


class _Decoder:
    """Decodes readings of one device, one after the other, by what is decided now.

    :param reopened: when hypotheses were last re-opened (ms), by name.
    """

    def __init__(self, record: LiveRecord, reopened: Mapping[str, int]) -> None:
        self._reopened = reopened
        self._last_reopened_at = max(reopened.values(), default=0)
        self._profile = record.profile
        self._byte_order = record.known.byte_order
        self._choices = record.profile.choices
        self._baseline: Baseline | None = None
        self._suspects: tuple[Suspect | None, ...] | None = None
        self._another = False
        self._begun = False

    def begin(self, before: Sequence[Reading]) -> None:
        """Take the counters of the last reading in that was before, if there was one.

        :param before: the newest first.
        """
        for reading in before:
            read = self._read(reading)
            if read is not None:
                self._baseline = self._judge(reading, read[0], None).baseline
                return

    def decode(
        self, reading: Reading, places: Sequence[int | None], rest: Sequence[Reading]
    ) -> tuple[tuple[float | None, ...] | None, bool]:
        """Decode one reading by what is decided now.

        :param places: where its kept points have those of the profile.
        :param rest: those that come after it.
        :return: its points as they are now (None: nothing is to be changed), and whether any is undecided.
        """
        profile = self._profile
        read = self._read(reading)
        if read is None:
            return None, False
        known, swapped = read
        if not self._begun:
            if self._baseline is None or self._judge(reading, known, self._baseline).suspects is not None:
                base = self._judge(reading, known, None).baseline
                after = next(((one, it[0]) for one in rest if (it := self._read(one)) is not None), None)
                if after is None and self._baseline is not None:
                    return None, True  # the next one will tell
                if after is not None and self._judge(*after, base).suspects is not None:
                    return None, False  # a glitch, or the last word of another controller
                self._baseline = None
            self._begun = True
        found = judge_counters(profile.hypotheses, self._choices, known, reading.at, self._baseline, self._suspects)
        self._baseline, self._suspects = found.baseline, found.suspects
        self._another = self._another or bool(found.rebased) or found.replaced
        if self._another or found.suspects is not None:
            return None, False  # who says this need not be what the decision is about
        profile = self._own_profile(reading, known)
        values = profile.values(CertainRegisters(known))
        undecided = known.undecided is not None or profile.is_undecided(known, values)
        # Where all readings agree, a value was left out for another reason: it was a counter that jumped.
        root = profile.root
        may_differ = {name for name in root.alternatives if root.value(root.point_by_name[name], known) is None}
        before = [None if place is None else reading.points[place] for place in places]
        points = tuple(
            value if old is None and (point.name in may_differ or swapped.intersection(point.addresses)) else old
            for point, value, old in zip(profile.definition.points, values, before, strict=True)
        )
        return points, undecided

    def reopened_since(self, reading: Reading) -> bool:
        """Tell whether anything about the device was re-opened since a reading."""
        return reading.at < self._last_reopened_at

    def _own_profile(self, reading: Reading, known: RegisterState) -> Profile:
        """Give the profile for what is decided, and is true of a reading from before it was last re-opened, too."""
        if not self.reopened_since(reading):
            return self._profile
        hypotheses = self._profile.hypotheses
        votes = [*hypotheses.votes(CertainRegisters(known), self._profile.engine_states)]
        votes += [None] * (len(hypotheses.all) - len(votes))
        return self._profile.settled(
            tuple(
                choice
                if reading.at >= self._reopened.get(hypothesis.name, 0) or (vote is not None and vote[0] == choice)
                else None
                for hypothesis, choice, vote in zip(hypotheses.all, self._choices, votes, strict=True)
            )
        )

    def _judge(self, reading: Reading, known: RegisterState, before: Baseline | None) -> CounterFinding:
        return judge_counters(self._profile.hypotheses, self._choices, known, reading.at, before, None)

    def _read(self, reading: Reading) -> tuple[RegisterState, set[int]] | None:
        """Give what a reading knows, and its registers whose byte order was open; None: nothing of a controller."""
        known = RegisterState(self._byte_order)
        try:
            known.image = RegisterImage.from_bytes(reading.image)
            if reading.undecided:
                known.undecided = RegisterImage.from_bytes(reading.undecided)
        except ImageError as error:
            log.error("reading {number}: {error}; it stays as it is", number=reading.number, error=error)
            return None
        if not known.image and known.undecided is None:
            return None  # of the device's inputs alone
        if known.undecided is None or self._byte_order is None or reading.at < self._reopened.get(BYTE_ORDER, 0):
            return known, set()
        swapped = set(chain(*known.undecided.known(_HOLDING_REGISTERS)))
        known.decide(self._byte_order, self._profile)
        return known, swapped
