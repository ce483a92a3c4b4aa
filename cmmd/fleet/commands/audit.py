"""The audit: every command there ever was, from before it is sent, kept in the store and passed to subscribers."""

from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cmmd.fleet.commands.queue import CommandRequest, Requester, who_text
from cmmd.fleet.counters.counters import Histogram
from cmmd.fleet.events import Events, Kind
from cmmd.fleet.history.journal import Journal
from cmmd.fleet.history.told import as_told
from cmmd.store.interface import IStore
from cmmd.store.records import Command, Outcome, Query

__all__ = ["Audit"]

log = Logger()

BOUNDS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)


class Audit:
    """Numbers commands, keeps what becomes of them, and tells it.

    :param journal: where records go. :param store: where they are read from.
    :param now: Unix time in seconds.
    :param unfinished: commands that were under way when the last process ended: their outcome is unknown.
    :param last_number: the number of the last command there ever was.
    :ivar last_number: the number of the last command that was accepted.
    :ivar outcomes: how many commands have ended since the start, by kind and outcome.
    :ivar seconds: from when each of them was accepted, without those of the last process.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        store: IStore,
        events: Events,
        now: Callable[[], float],
        unfinished: Iterable[Command] = (),
        last_number: int = 0,
    ) -> None:
        self._journal = journal
        self._store = store
        self._events = events
        self._now = now
        self.last_number = last_number
        self._hooks: list[Callable[[Command], None]] = []
        self._told: dict[int, Command] = {}  # those that have not ended, as far as has been told
        self._states = 0
        self._untold: dict[int, list[int]] = {}  # of each command the states that wait to be told, in order
        self.outcomes: MutableMapping[tuple[str, Outcome], int] = Counter()
        self.seconds = Histogram(BOUNDS_S)
        for command in unfinished:
            self._close(replace(command, outcome="lost", ended_at=self.now_ms()))

    # --- to read -----------------------------------------------------------------------------------------------------

    async def page(self, query: Query) -> list[Command]:
        """Commands of the audit, in the order of time; they may be a moment behind.

        :raises StoreUnavailable: see IStore.
        """
        return await self._store.commands(query)

    def subscribe(self, hook: Callable[[Command], None]) -> Callable[[], None]:
        """Subscribe to every change of every command.

        :return: call it to unsubscribe.
        """
        self._hooks.append(hook)

        def unsubscribe() -> None:
            if hook in self._hooks:
                self._hooks.remove(hook)

        return unsubscribe

    # --- to write ----------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The time of records: milliseconds since 1970, UTC."""
        return int(self._now() * 1000)

    def accepted(self, hostid: str, asked: CommandRequest, by: Requester, uid: str) -> Command:
        """The record of a new command, under the next number; it is not kept yet."""
        self.last_number += 1
        return Command(
            number=self.last_number,
            hostid=hostid,
            kind=asked.kind,
            name=asked.name,
            request=asked.request,
            requester=who_text(by.requester),
            door=by.door,
            uid=uid,
            overridden=asked.overridden,
            accepted_at=self.now_ms(),
        )

    def open(self, command: Command, *, stays: bool = False) -> Deferred[None]:
        """Keep the record of a command that is to be sent. Subscribers are not notified: the store can refuse it.

        :param stays: where the store does not take it now, it is kept as soon as the store does.
        :return: fires when it is durable; fails with StoreUnavailable.
        """
        return self._journal.add_durable(command, urgent=True, stays=stays)

    def joined(self, command: Command, by: Requester) -> None:
        """Record that another caller has requested a stop that has not left yet: it is the same stop."""
        self._events.emit(
            Kind.STOP_JOINED, command.hostid, command=command.number, requester=who_text(by.requester), door=by.door
        )

    def sent(self, command: Command) -> None:
        """Keep that a command has been sent, sooner or later, and tell it at once: nothing is promised by that."""
        self._journal.add(command)
        self.tell(command)

    def confirmed(self, command: Command) -> None:
        """Keep whether a command has shown itself, and tell it when that is durable."""
        self._journal.add(command)
        self._tell_recorded(command)

    def close(self, command: Command) -> Deferred[Command]:
        """Keep the end of a command, and tell it when that is durable.

        :return: fires with the command as it is told: where the store does not take it in time, as not recorded.
        """
        assert command.ended_at is not None, "it has ended"
        self.seconds.observe((command.ended_at - command.accepted_at) / 1000)
        return self._close(command)

    def _close(self, command: Command) -> Deferred[Command]:
        assert command.outcome is not None, "it has ended"
        self.outcomes[command.kind, command.outcome] += 1
        self._journal.add(command)
        self._events.emit(
            Kind.COMMANDED,
            command.hostid,
            command=command.number,
            name=command.name or command.kind,
            requester=command.requester,
            outcome=command.outcome,
        )
        return self._tell_recorded(command)

    def _tell_recorded(self, command: Command) -> Deferred[Command]:
        """Tell a state when it is durable, unless a newer one was told: a lost event has the newer ones told first."""
        self._states += 1
        state = self._states
        self._untold.setdefault(command.number, []).append(state)

        def tell(recorded: bool) -> Command:
            told = as_told(command, recorded=recorded)
            untold = self._untold.get(command.number, [])
            if state in untold:
                del untold[: untold.index(state) + 1]
                if not untold:
                    del self._untold[command.number]
                self.tell(told)
            return told

        return self._journal.recorded().addCallback(tell)

    def as_told(self, number: int) -> Command | None:
        """Give a command as it was told last, until its end has been told; None: nothing was, or its end."""
        return self._told.get(number)

    def tell(self, command: Command) -> None:
        """Notify all subscribers. What one of them raises is logged, and the others are notified all the same."""
        if command.outcome is None:
            self._told[command.number] = command
        else:
            self._told.pop(command.number, None)
        for hook in tuple(self._hooks):
            try:
                hook(command)
            except Exception:
                log.failure("while telling of command {number}", number=command.number)
