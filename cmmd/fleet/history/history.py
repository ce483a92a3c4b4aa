"""History: the policy that decides which uploads are kept as readings, and queries (protocol section 7)."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from cmmd.controllers.profile import Profile
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.errors import NoSuchPoint
from cmmd.fleet.history.journal import Journal
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.register_state import CertainRegisters
from cmmd.keep_policy import CHANGE_GAP_S, Due, KeepPolicy
from cmmd.modbus.image import RegisterImage
from cmmd.store.interface import MOST_A_PAGE, IStore, StoreUnavailable
from cmmd.store.records import Cursor, PointColumn, ProfileVersion, Query, Reading, Reason

__all__ = ["CHANGE_GAP_MS", "History", "NamedReading", "Page"]

CHANGE_GAP_MS = round(CHANGE_GAP_S * 1000)
"""Between a kept upload and the next one that is kept because something changed: what flaps must not fill a disk."""


class NamedReading(Struct, frozen=True, kw_only=True):
    """A reading with its points by name; None: no data, not known or not certain."""

    reading: Reading
    points: dict[str, float | None]


class Page(Struct, frozen=True, kw_only=True):
    """Readings, and where the next page begins; None: there are no more now."""

    readings: list[NamedReading]
    after: Cursor | None


class History:
    """Keeps readings, and finds them again.

    :param journal: takes them to the store.
    :param store: has them.
    :param interval_s: an upload is kept when so much time has passed since the last kept one.
    :param versions: the profile versions that the store has.
    :param last_number: the highest number of a reading so far.
    :param counters: counts what is kept, by reason.
    :ivar kept_undecided: notified of the hostid and the time of each reading that has undecided values.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        store: IStore,
        interval_s: float,
        versions: Iterable[ProfileVersion],
        last_number: int,
        counters: Counters,
    ) -> None:
        self._journal = journal
        self._store = store
        self._policy = KeepPolicy(interval_s * 1000, CHANGE_GAP_MS)
        self._interval_ms = self._policy.interval  # a plain name, for each upload
        self._versions = {version.number: version for version in versions}
        self._numbers = {(one.name, one.fingerprint): one.number for one in self._versions.values()}
        self._last_number = last_number
        self._counters = counters
        self.kept_undecided: Callable[[str, int], object] = lambda *_: None

    # --- to keep -----------------------------------------------------------------------------------------------------

    def take(self, record: LiveRecord, *, changed: bool) -> Deferred[None] | None:
        """Keep the upload that a live record has just taken over, if it is due.

        :param changed: whether an alarm, the mode, the engine's state, a breaker or the mains changed with it.
        :return: fires when it is durable, fails with StoreUnavailable when it is not kept; None: it is not due.
        """
        assert record.at is not None, "an upload has been taken over"
        if not changed and record.owed is None and record.kept_at is not None:
            own_s = record.device.history_interval
            if 0 <= record.at - record.kept_at <= (self._interval_ms if own_s is None else own_s * 1000):
                return None  # as nearly always
        reason = self._reason(record, record.at, changed)
        return None if reason is None else self._keep(record, reason)

    def take_inputs(self, record: LiveRecord, at: int, reason: Reason) -> Deferred[None] | None:
        """Keep that the device's inputs have changed, where nothing was said of its controller: without any values.

        :param at: when that was, in milliseconds UTC.
        :return: see :meth:`take`; None: too soon after another, so that it has to be made up for.
        """
        record.inputs_at = at
        if reason == "change" and self._policy.too_soon(at, record.inputs_kept_at):
            record.suppressed += 1
            self._counters.suppressed += 1
            return None
        return self._keep_inputs(record, at, reason)

    def flush_pending(self, record: LiveRecord, now_ms: int | None) -> None:
        """Keep what is owed of a change that came too soon after another: the device may have nothing more to say.

        It was acknowledged when it came; where the store does not take it, the next upload is kept in its place.

        :param now_ms: Unix time, to see whether it is not too soon now; None: it is the end.
        """
        too_soon = now_ms is not None and self._policy.too_soon(now_ms, record.kept_at)
        if record.owed == "change" and self._journal.up and not too_soon:
            self._keep(record, "change").addErrback(lambda failure: failure.trap(StoreUnavailable) and None)
        too_soon = now_ms is not None and self._policy.too_soon(now_ms, record.inputs_kept_at)
        if record.inputs_at is not None and self._journal.up and not too_soon:
            kept = self._keep_inputs(record, record.inputs_at, "change")
            kept.addErrback(lambda failure: failure.trap(StoreUnavailable) and None)

    def _reason(self, record: LiveRecord, at: int, changed: bool) -> Reason | None:
        reason: Reason | None = record.owed or ("change" if changed else None)
        due = self._policy.due(at, record.kept_at, changed=reason == "change", interval=self._interval(record))
        if due is Due.TOO_SOON:
            record.owed = reason
            if changed:
                record.suppressed += 1
                self._counters.suppressed += 1
            return None
        if reason is not None or due is Due.NOT_DUE:
            return reason
        return "first" if due is Due.FIRST else "interval"

    def _interval(self, record: LiveRecord) -> float:
        own_s = record.device.history_interval
        return self._policy.interval if own_s is None else own_s * 1000

    def _keep(self, record: LiveRecord, reason: Reason) -> Deferred[None]:
        if not self._journal.up:
            record.owed = record.owed or reason
            self._counters.not_kept += 1
            return fail(StoreUnavailable("the store does not take anything now"))
        last = record.newest()
        version = self.version(record.profile)
        self._last_number += 1
        reader = CertainRegisters(record.known)
        values = record.profile.values(reader)
        if record.known.undecided is not None or record.profile.is_undecided(reader, values):
            self.kept_undecided(record.hostid, last.at)
        reading = Reading(
            number=self._last_number,
            hostid=record.hostid,
            at=last.at,
            reason=reason,
            suppressed=record.suppressed,
            profile=version,
            inputs=last.inputs,
            image=last.image,
            undecided=last.undecided,
            points=tuple(values),
            source=record.source,
        )
        suppressed, record.suppressed = record.suppressed, 0
        if record.inputs_at is not None and record.inputs_at <= last.at:
            record.inputs_at = None  # this reading has them
        kept_before, record.kept_at = record.kept_at, last.at
        record.owed = None
        durable = self._journal.add_durable(reading)
        if reason != "historic":
            record.saved = record.upload
            self._journal.add(record.with_lock(replace(last, kept_at=last.at)))

        def kept(_: None) -> None:
            self._counters.readings[reason] += 1

        def not_kept(failure: Failure) -> Failure:
            if record.kept_at == last.at:
                record.kept_at = kept_before
            record.owed = record.owed or reason
            record.suppressed += suppressed
            self._counters.not_kept += 1
            return failure

        return durable.addCallbacks(kept, not_kept)

    def _keep_inputs(self, record: LiveRecord, at: int, reason: Reason) -> Deferred[None]:
        """Keep a reading in which nothing but the device's inputs is known."""
        if not self._journal.up:
            self._counters.not_kept += 1
            return fail(StoreUnavailable("the store does not take anything now"))
        version = self.version(record.profile)
        self._last_number += 1
        reading = Reading(
            number=self._last_number,
            hostid=record.hostid,
            at=at,
            reason=reason,
            suppressed=record.suppressed,
            profile=version,
            inputs=record.inputs,
            image=RegisterImage().to_bytes(),
            points=(None,) * len(record.profile.definition.points),
            source=record.source,
        )
        suppressed, record.suppressed = record.suppressed, 0
        kept_before, record.inputs_kept_at = record.inputs_kept_at, at
        record.inputs_at = None
        durable = self._journal.add_durable(reading)
        if reason != "historic":
            record.owed = record.owed or "interval"  # the next values will come soon
            if record.at is not None:
                self._journal.add(record.to_save())

        def kept(_: None) -> None:
            self._counters.readings[reason] += 1

        def not_kept(failure: Failure) -> Failure:
            if record.inputs_kept_at == at:
                record.inputs_kept_at = kept_before
            if record.inputs_at is None and reason != "historic":
                record.inputs_at = at
            record.suppressed += suppressed
            self._counters.not_kept += 1
            return failure

        return durable.addCallbacks(kept, not_kept)

    def version(self, profile: Profile) -> int:
        """The number of a profile as it is now; a new one is kept, before the first reading that has it."""
        key = (profile.name, profile.fingerprint)
        number = self._numbers.get(key)
        if number is None:
            number = max(self._versions, default=0) + 1
            columns = tuple(
                PointColumn(name=point.name, title=point.title, unit=point.unit, decimals=point.decimals)
                for point in profile.definition.points
            )
            version = ProfileVersion(number=number, name=profile.name, fingerprint=profile.fingerprint, points=columns)
            self._versions[number] = version
            self._numbers[key] = number
            self._journal.add(version)
        return number

    def save(self, records: Iterable[LiveRecord]) -> None:
        """Keep the newest upload of each device for the next start, at an orderly end."""
        for record in records:
            if record.upload != record.saved:
                self._journal.add(record.to_save())
                record.saved = record.upload

    # --- to find -----------------------------------------------------------------------------------------------------

    async def page(self, query: Query, points: Sequence[str] | None = None) -> Page:
        """Find one page of readings.

        :param query: of which device and time, from where on, how many, in which order.
        :param points: the names of those that are wanted; None: all.
        :raises NoSuchPoint: there was never one of that name.
        :raises StoreUnavailable: see IStore.
        """
        if points is not None:
            there_are = {column.name for version in self._versions.values() for column in version.points}
            for name in points:
                if name not in there_are:
                    raise NoSuchPoint(f"there was never a point {name}")
        limit = min(max(query.limit, 1), MOST_A_PAGE)
        readings = await self._store.readings(replace(query, limit=limit))
        more = len(readings) == limit
        return Page(
            readings=[NamedReading(reading=one, points=self._named(one, points)) for one in readings],
            after=Cursor(readings[-1].at, readings[-1].number) if more else None,
        )

    async def values(self, query: Query, points: Sequence[str]) -> list[tuple[Cursor, list[float | None]]]:
        """The values of a few points, as they are kept: for callers that go through many readings.

        :param points: names; see :meth:`column`.
        :raises StoreUnavailable: see IStore.
        """
        places: dict[int, list[int | None]] = {}
        found: list[tuple[Cursor, list[float | None]]] = []
        for reading in await self._store.readings(query):
            wanted = places.get(reading.profile)
            if wanted is None:
                wanted = places[reading.profile] = self.places(reading.profile, points)
            kept = reading.points
            values = [None if place is None or place >= len(kept) else kept[place] for place in wanted]
            found.append((Cursor(reading.at, reading.number), values))
        return found

    def places(self, version: int, points: Sequence[str]) -> list[int | None]:
        """Say where readings with a profile version have points of these names; None: they have none."""
        columns = self._versions[version].points if version in self._versions else ()
        there = {column.name: place for place, column in enumerate(columns)}
        return [there.get(name) for name in points]

    def is_of(self, version: int, profile: Profile) -> bool:
        """Tell whether a number is that of a version, any one, of this profile."""
        return version in self._versions and self._versions[version].name == profile.name

    def column(self, name: str) -> PointColumn:
        """Find the meaning of a point in the newest profile version that has its name.

        :raises NoSuchPoint: there was never one of that name.
        """
        for _, version in sorted(self._versions.items(), reverse=True):
            for column in version.points:
                if column.name == name:
                    return column
        raise NoSuchPoint(f"there was never a point {name}")

    def _named(self, reading: Reading, wanted: Sequence[str] | None) -> dict[str, float | None]:
        version = self._versions.get(reading.profile)
        columns = version.points if version is not None else ()
        values = {
            column.name: None if value is None else round(value, column.decimals or None)
            for column, value in zip(columns, reading.points, strict=False)
        }
        return values if wanted is None else {name: values.get(name) for name in wanted}
