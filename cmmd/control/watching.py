"""Notifications to one watcher: gathered, bounded, and sent no faster than the watcher takes them."""

from collections import deque
from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from cmmd.control.boxes import PAGE_BYTES, fill
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.store.records import Command, Event

__all__ = ["GATHER_S", "MOST_COMMANDS", "MOST_EVENTS", "STALLED_S", "Watcher"]

GATHER_S = 0.1
"""Seconds that something may wait for more to come along."""

MOST_EVENTS = 1000
MOST_COMMANDS = 1000
"""That wait; of more the oldest go. Devices with new uploads wait each once, however many uploads there are."""

STALLED_S = 60.0
"""A watcher that has not answered for so long is gone."""

_NUMBER_BYTES = 22
"""That the JSON of a number has at most, with colon and comma."""


class Watcher:
    """Gathers what happens and sends it, one box at a time: the next one when the last has been answered.

    :param send: sends the arguments of an Event (commands.Event); fires when it is answered.
    :param give_up: called once when they are not answered in time, or cannot be.
    :param hostid: only of this device; None: of all.
    """

    def __init__(
        self,
        *,
        send: Callable[[dict[str, object]], Deferred[object]],
        give_up: Callable[[str], None],
        clock: IReactorTime,
        hostid: str | None = None,
    ) -> None:
        self._send = send
        self._give_up = give_up
        self._clock = clock
        self._hostid = hostid
        self._events: deque[Event] = deque()
        self._live: dict[str, int] = {}
        self._commands: dict[int, Command] = {}
        self._missed = 0
        self._timer: IDelayedCall | None = None
        self._sources: list[Callable[[], None]] = []
        self._stopped = False

    def follow(self, *unsubscribe: Callable[[], None]) -> None:
        """Subscribe, and return the call that ends the subscription."""
        self._sources.extend(unsubscribe)

    def event(self, event: Event) -> None:
        """Take an event over into the notifications."""
        if self._hostid in (None, event.hostid):
            if len(self._events) >= MOST_EVENTS:
                self._events.popleft()
                self._missed += 1
            self._events.append(event)
            self._soon()

    def upload(self, record: LiveRecord) -> None:
        """A device has a new upload."""
        if self._hostid in (None, record.hostid):
            self._live[record.hostid] = record.upload
            self._soon()

    def command(self, command: Command) -> None:
        """A command has changed."""
        if self._hostid in (None, command.hostid):
            self._commands.pop(command.number, None)  # the newest last
            if len(self._commands) >= MOST_COMMANDS:
                del self._commands[next(iter(self._commands))]
                self._missed += 1
            self._commands[command.number] = command
            self._soon()

    def stop(self) -> None:
        """Tell nothing more. Nothing happens if that is so already."""
        self._stopped = True
        for unsubscribe in self._sources:
            unsubscribe()
        self._sources.clear()
        self._set_timer(None)

    def _set_timer(self, timer: IDelayedCall | None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = timer

    def _soon(self) -> None:
        if self._timer is None and not self._stopped:
            self._timer = self._clock.callLater(GATHER_S, self._flush)

    def _flush(self) -> None:
        self._set_timer(self._clock.callLater(STALLED_S, self._end, f"news not answered within {STALLED_S:g} s"))
        events, live, commands = fill(self._events), self._fitting_live(), fill(self._commands.values())
        news = {"events": events.text, "live": live, "commands": commands.text, "missed": self._missed}
        for _ in range(events.count):
            self._events.popleft()
        for hostid in live:
            del self._live[hostid]
        for number in list(self._commands)[: commands.count]:
            del self._commands[number]
        self._missed = 0
        self._send(news).addCallbacks(self._answered, self._failed)

    def _fitting_live(self) -> dict[str, int]:
        length, fitting = 0, dict[str, int]()
        for hostid, upload in self._live.items():
            length += len(msgspec.json.encode(hostid)) + _NUMBER_BYTES
            if length > PAGE_BYTES:
                break
            fitting[hostid] = upload
        return fitting

    def _answered(self, _: object) -> None:
        if not self._stopped:
            self._set_timer(None)
            if self._events or self._live or self._commands:
                self._soon()

    def _failed(self, failure: Failure) -> None:
        self._end(f"news cannot be taken: {type(failure.value).__name__}")

    def _end(self, why: str) -> None:
        if not self._stopped:
            self.stop()
            self._give_up(why)
