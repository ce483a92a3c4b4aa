"""The one that writes to PostgreSQL: calls in the order in which they come, some of them together."""

from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from cmmd.store.interface import DuplicateDevice, StoreUnavailable
from cmmd.store.postgres.batches import adding, as_kept, highest_numbers, writing
from cmmd.store.postgres.connection import Link
from cmmd.store.postgres.errors import Rejected, Unavailable
from cmmd.store.postgres.schema import partitions_for
from cmmd.store.postgres.tables import moment, text
from cmmd.store.records import Device, Reading, Row

__all__ = ["Work", "Writer"]

T = TypeVar("T")
Work = Callable[[Link], Coroutine[Deferred[Any], Any, T]]

MOST_TOGETHER = 500
"""Rows, or devices, of calls that share a statement. To make one of so many readings takes 2 ms."""

MOST_UNCERTAIN = 10_000
"""Devices that are remembered because it is unknown whether they were added: strangers must not fill the memory."""

_NO_PARTITION = "23514"
_OUT_OF_RANGE = "22003"
_REMEDIES = frozenset({_NO_PARTITION, _OUT_OF_RANGE})


class _Call(NamedTuple):
    """A call that waits for the writer: rows to write, a device to add, or another change."""

    rows: list[Row]
    device: Device | None
    work: Work[Any] | None
    confirmed: Deferred[Any]

    def goes_with(self, other: "_Call") -> bool:
        """Tell whether both may be carried out by one statement."""
        return self.work is None and other.work is None and (self.device is None) == (other.device is None)

    @property
    def length(self) -> int:
        return len(self.rows) or 1


def _is_endless(row: Row) -> bool:
    """Tell whether a reading is of a time for which there can be no partition; else nothing is wrong with it."""
    return isinstance(row, Reading) and "infinity" in moment(row.at)


class Writer:
    """Carries calls out in the order in which they come, each when the one before has been confirmed.

    Writes that wait while another one is under way go together, and so do devices to be added. Where such a group fails
    by the values of one, each call is carried out alone. What the database does not take fails, and the next is tried.

    :param link: the connection of the one that writes.
    :param taken: notified of the highest numbers of what has been confirmed, by kind.
    """

    def __init__(self, link: Link, taken: Callable[[Mapping[str, int]], None] = lambda _: None) -> None:
        self._link = link
        self._taken = taken
        self._waiting: deque[_Call] = deque()
        self._working = False
        self._idle: list[Deferred[None]] = []
        self._uncertain: dict[str, None] = {}

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        """Keep records, all or none."""
        return self._submit(list(rows), None, None)

    def add(self, device: Device) -> Deferred[Device]:
        """Keep a new device."""
        return self._submit([], device, None)

    def run(self, work: Work[T]) -> Deferred[T]:
        """Run another change in its turn."""
        return self._submit([], None, work)

    def drain(self) -> Deferred[None]:
        """Wait until nothing waits any more."""
        if not self._working:
            return succeed(None)
        self._idle.append(Deferred())
        return self._idle[-1]

    def _submit(self, rows: list[Row], device: Device | None, work: Work[Any] | None) -> Deferred[Any]:
        confirmed: Deferred[Any] = Deferred()
        self._waiting.append(_Call(rows, device, work, confirmed))
        if not self._working:
            self._working = True
            Deferred.fromCoroutine(self._work_off())
        return confirmed

    async def _work_off(self) -> None:
        while self._waiting:
            await self._carry_out(self._next_group())
        self._working = False
        idle, self._idle = self._idle, []
        for one in idle:
            one.callback(None)

    def _next_group(self) -> list[_Call]:
        group = [self._waiting.popleft()]
        length = group[0].length
        devices = {row.number for row in group[0].rows if isinstance(row, Device)}
        while self._waiting and group[0].goes_with(self._waiting[0]):
            length += self._waiting[0].length
            if length > MOST_TOGETHER:
                break
            more = {row.number for row in self._waiting[0].rows if isinstance(row, Device)}
            if more & devices:  # the first one of them could be impossible, and that would stay unseen
                break
            devices |= more
            group.append(self._waiting.popleft())
        return group

    async def _carry_out(self, group: list[_Call]) -> None:
        try:
            results = await self._results(group)
        except StoreUnavailable:
            results = [Failure()] * len(group)
        except Exception:
            if len(group) > 1:
                for one in group:
                    await self._carry_out([one])
                return
            results = [Failure()]
        for one, result in zip(group, results, strict=True):
            one.confirmed.callback(result)  # a Failure becomes an errback

    async def _results(self, group: list[_Call]) -> list[Any]:
        first = group[0]
        if first.work is not None:
            return [await first.work(self._link)]
        if first.device is not None:
            return await self._add([one.device for one in group if one.device is not None])
        await self._write([row for one in group for row in one.rows])
        return [None] * len(group)

    async def _write(self, rows: list[Row], remedies: frozenset[str] = _REMEDIES) -> None:
        """Write a batch; what usually need not be seen to is seen to when the server complains."""
        try:
            await self._link.runQuery(writing(rows))
        except Rejected as error:
            if error.sqlstate not in remedies:
                if error.sqlstate == _NO_PARTITION and not any(_is_endless(row) for row in rows):
                    raise Unavailable(f"{error}; see docs/storage.md, Partitions", error.sqlstate) from None
                raise
            if error.sqlstate == _OUT_OF_RANGE:
                rows = as_kept(rows)
            else:
                times = [row.at for row in rows if isinstance(row, Reading)]
                await self._make_partitions(times)
            await self._write(rows, remedies - {error.sqlstate})
        else:
            self._taken(highest_numbers(rows))

    async def _make_partitions(self, times: list[int]) -> None:
        if times:
            for (statement,) in await self._link.runQuery(partitions_for(times)):
                await self._link.runQuery(statement)

    async def _add(self, devices: list[Device]) -> list[Device | Failure]:
        try:
            rows = await self._link.runQuery(adding(devices))
        except StoreUnavailable:
            for device in devices:
                self._uncertain[device.hostid] = None
            for hostid in list(islice(self._uncertain, max(0, len(self._uncertain) - MOST_UNCERTAIN))):
                del self._uncertain[hostid]
            raise
        numbers = {hostid: number for number, hostid in rows}
        self._taken({"device": max(numbers.values(), default=0)})
        return [await self._added(device, numbers.pop(device.hostid, None)) for device in devices]

    async def _added(self, device: Device, number: int | None) -> Device | Failure:
        """Answer a caller that has added a device; None: it was there.

        It can be there without an answer: the connection was lost between the addition and its confirmation.
        """
        uncertain = device.hostid in self._uncertain
        self._uncertain.pop(device.hostid, None)
        if number is not None:
            return replace(device, number=number)
        if not uncertain:
            return Failure(DuplicateDevice(device.hostid))
        ((number,),) = await self._link.runQuery(f"SELECT number FROM device WHERE hostid = {text(device.hostid)}")  # noqa: S608
        added = replace(device, number=number)
        await self._write([added])
        return added
