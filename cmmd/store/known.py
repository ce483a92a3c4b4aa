"""What a daemon has to know at a start while its database is away: a copy of that, in a file of its own."""

from collections.abc import Iterator, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.store.interface import Kept, StoreError
from cmmd.store.records import Alarm, Command, Device, Event, LastUpload, Numbers, ProfileVersion, Reading, Row
from cmmd.store.spool import Spool

__all__ = ["RESERVED", "Known"]

log = Logger()

RESERVED = Numbers(reading=1_000_000, event=1_000_000, alarm=10_000, command=10_000)
"""So many numbers ahead of those given are kept free: a start that cannot ask the database begins behind them."""

UPLOADS_S = 60.0
"""There is a last upload with every reading; the newest one of each device is copied that often."""

_NUMBERED: dict[type[Row], str] = {Reading: "reading", Event: "event", Alarm: "alarm", Command: "command"}


class Known:
    """Follows what is written to a store: devices, profile versions, open alarms, unfinished commands, last uploads.

    Where the file does not take something, the store goes on without it; the log says so, once.

    :param file: where the copy is.
    :param clock: for the pace of last uploads.
    """

    def __init__(self, file: Spool, clock: IReactorTime) -> None:
        self._file = file
        self._clock = clock
        self._uploads: dict[str, LastUpload] = {}
        self._flushing: IDelayedCall | None = None
        self._given = dict.fromkeys(_NUMBERED, 0)
        self._reserved = Numbers()
        self._failed = False

    def open(self) -> Deferred[Kept]:
        """Open the file.

        :return: what the store had, as far as it was copied. Its numbers are those that were reserved.
        :raises StoreUnavailable: see IStore. :raises SchemaTooNew: see there.
        """
        return self._file.open().addCallback(self._opened)

    def _opened(self, kept: Kept) -> Kept:
        self._reserved = kept.numbers
        self._given = {kind: getattr(kept.numbers, name) for kind, name in _NUMBERED.items()}
        return kept

    def take_over(self, before: Kept, now: Kept) -> None:
        """Have the copy be what the store has.

        :param before: what :meth:`open` gave. :param now: what the store has.
        """
        self._given = {kind: getattr(now.numbers, name) for kind, name in _NUMBERED.items()}
        there, wanted = set(_state(before)), set(_state(now))
        self._file.discard([row for row in _state(before) if row not in wanted]).addErrback(self._not_copied)
        self._copy([*(row for row in _state(now) if row not in there), self._reserve()])

    def follow(self, rows: Sequence[Row]) -> Deferred[None]:
        """Copy what the store has been given.

        :return: fires when it is copied, or could not be; at once where nothing has to be there soon.
        """
        lasting: list[Row] = []
        over: list[Row] = []
        for row in rows:
            kind = type(row)
            if kind in self._given:
                self._given[kind] = max(self._given[kind], row.number)  # type: ignore[union-attr]
            match row:
                case LastUpload():
                    self._uploads[row.hostid] = row
                case Alarm(cleared_at=int()) | Command(outcome=str()):
                    over.append(row)
                case Device() | ProfileVersion() | Alarm() | Command():
                    lasting.append(row)
        if self._uploads and self._flushing is None:
            self._flushing = self._clock.callLater(UPLOADS_S, self._copy_uploads)
        if self._is_short():
            lasting.append(self._reserve())
        if not lasting and not over:
            return succeed(None)
        copied = self._copy([*lasting, *over])
        self._file.discard(over).addErrback(self._not_copied)
        return copied

    def close(self) -> Deferred[None]:
        """Copy the rest, and close the file."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._copy_uploads()
        return self._file.close()

    def _copy_uploads(self) -> None:
        self._flushing = None
        uploads, self._uploads = self._uploads, {}
        self._copy(list(uploads.values()))

    def _is_short(self) -> bool:
        """Whether less than half of the reserve is left, of any kind."""
        return any(
            2 * (getattr(self._reserved, name) - self._given[kind]) < getattr(RESERVED, name)
            for kind, name in _NUMBERED.items()
        )

    def _reserve(self) -> Numbers:
        self._reserved = Numbers(
            **{name: self._given[kind] + getattr(RESERVED, name) for kind, name in _NUMBERED.items()}
        )
        return self._reserved

    def _copy(self, rows: Sequence[Row]) -> Deferred[None]:
        return self._file.write(rows).addErrback(self._not_copied)

    def _not_copied(self, failure: Failure) -> None:
        failure.trap(StoreError)
        if not self._failed:
            self._failed = True
            log.warn("a start without the database would not know everything: {error}", error=failure.value)


def _state(kept: Kept) -> Iterator[Row]:
    yield from kept.devices
    yield from kept.profiles
    yield from kept.uploads
    yield from kept.alarms
    yield from kept.unfinished
