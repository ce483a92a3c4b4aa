"""Tell what is durable: no program is told of an event that a kill or a power cut could undo."""

from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from msgspec.structs import asdict
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.fleet.events import Events
from cmmd.fleet.history.journal import RECORD_S, Journal
from cmmd.store.records import Command, Event

__all__ = ["Told", "ToldEvents", "UnrecordedCommand", "UnrecordedEvent", "as_told", "when_recorded"]

log = Logger()

T = TypeVar("T")


class UnrecordedEvent(Event, frozen=True, kw_only=True):
    """An event that is told before it is durable, since the store does not take it in time."""

    recorded: bool = False


class UnrecordedCommand(Command, frozen=True, kw_only=True):
    """A command that is told so before that is durable, since the store does not take it in time."""

    recorded: bool = False


def as_told(command: Command, *, recorded: bool) -> Command:
    """Mark a command where the store does not have it as it is told."""
    return command if recorded else UnrecordedCommand(**asdict(command))


class Told(NamedTuple, Generic[T]):
    """A change, as its caller is told of it.

    :ivar result: of the change; None, too: it has none yet. :ivar ended: whether it has one.
    :ivar recorded: whether it is durable.
    """

    result: T | None
    ended: bool
    recorded: bool


def when_recorded(changing: Deferred[T], journal: Journal, clock: IReactorTime) -> Deferred[Told[T]]:
    """Wait until a change is durable, for :data:`RECORD_S` at most: the change goes on all the same.

    :return: fires with the change as it is then; fails as the change does.
    """
    told: Deferred[Told[T]] = Deferred()
    results: list[T] = []

    def tell(recorded: bool) -> None:
        if not told.called:
            if patience.active():
                patience.cancel()
            told.callback(Told(results[0] if results else None, bool(results), recorded))

    def changed(result: T) -> None:
        results.append(result)
        journal.recorded().addCallback(tell)

    def failed(failure: Failure) -> None:
        if told.called:
            log.warn("a change that was answered as not recorded has failed: {error}", error=failure.value)
        else:
            patience.cancel()
            told.errback(failure)

    patience = clock.callLater(RECORD_S, tell, False)
    changing.addCallbacks(changed, failed)
    return told


class ToldEvents:
    """Passes events on to subscribers at the doors, in their order, when they are durable.

    Where the store does not take them within some seconds, they are passed on all the same, as not recorded: an alarm
    has to be seen.

    :param events: all events. :param journal: takes them to the store, before they come here.
    :ivar last_number: of the last event that was passed on, or was there before the first subscription.
    """

    def __init__(self, events: Events, journal: Journal) -> None:
        self._events = events
        self._journal = journal
        self._subscribers: dict[int, Callable[[Event], None]] = {}
        self._next = 0
        self._waiting: deque[Event] = deque()
        self._asked = False
        self._end: Callable[[], None] | None = None
        self._last_number = 0

    @property
    def last_number(self) -> int:
        """Give the number behind which the next event is passed on."""
        return self._events.last_number if self._end is None else self._last_number

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Subscribe to every event behind :attr:`last_number`.

        What a subscriber raises is logged, and it is passed the next event all the same.

        :return: call it to unsubscribe; once or more often.
        """
        if self._end is None:
            self._last_number = self._events.last_number
            self._end = self._events.subscribe(self._put)
        number = self._next = self._next + 1
        self._subscribers[number] = subscriber

        def unsubscribe() -> None:
            self._subscribers.pop(number, None)
            if not self._subscribers and self._end is not None:
                self._end()
                self._end = None
                self._waiting.clear()

        return unsubscribe

    def _put(self, event: Event) -> None:
        self._waiting.append(event)
        if not self._asked:
            self._ask()

    def _ask(self) -> None:
        """Wait once for all events that have come; those that come meanwhile have the next turn."""
        while self._waiting and not self._asked:
            self._asked = True
            self._journal.recorded().addCallback(self._pass_on, self._waiting[-1].number).addErrback(self._our_bug)

    def _pass_on(self, recorded: bool, until: int) -> None:
        self._asked = False
        while self._waiting and self._waiting[0].number <= until:
            event = self._waiting.popleft()
            self._last_number = event.number
            told = event if recorded else UnrecordedEvent(**asdict(event))
            for subscriber in tuple(self._subscribers.values()):
                try:
                    subscriber(told)
                except Exception:
                    log.failure("while telling event {number}, {kind}", number=event.number, kind=event.kind)
        if self._waiting:
            self._ask()

    def _our_bug(self, failure: Failure) -> None:
        self._asked = False
        log.failure("while telling events", failure=failure)
