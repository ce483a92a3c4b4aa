"""Numbers, what is kept, and who is told. The commands' whole way: tests/test_fleet_commands_dispatcher.py."""

from unittest.mock import Mock

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.commands.audit import Audit
from cmmd.fleet.commands.queue import CommandRequest, Requester
from cmmd.fleet.history import journal
from cmmd.store.records import Command, Query
from tests.world import HOSTID, World


class AuditTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.audit = self.made()

    def made(self, *unfinished: Command) -> Audit:
        world = self.world
        return Audit(
            journal=world.fleet.journal,
            store=world.store,
            events=world.fleet.events,
            now=world.clock.seconds,
            unfinished=unfinished,
            last_number=6,
        )

    def accepted(self) -> Command:
        return self.audit.accepted(
            HOSTID, CommandRequest("reset", "", "reset"), Requester(" a\nb\x1b[31m ", "amp"), "100000"
        )

    def kept(self) -> list[Command]:
        self.world.write_batch()
        return self.successResultOf(Deferred.fromCoroutine(self.audit.page(Query())))

    def test_numbers_go_on(self) -> None:
        self.assertEqual([self.accepted().number for _ in range(2)], [7, 8])
        self.assertEqual(self.kept(), [])

    def test_who_asks_is_printable(self) -> None:
        self.assertEqual(self.accepted().requester, "a b [31m")

    def test_nobody_is_told_of_what_may_not_be_taken(self) -> None:
        told: list[Command] = []
        self.audit.subscribe(told.append)
        command = self.accepted()
        self.successResultOf(self.audit.open(command))
        self.assertEqual((self.kept(), told), ([command], []))

    def test_whoever_listens_is_told_whatever_another_one_does(self) -> None:
        told: list[Command] = []
        self.audit.subscribe(Mock(side_effect=ZeroDivisionError))
        leave = self.audit.subscribe(told.append)
        command = self.accepted()
        self.audit.sent(command)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        leave()
        leave()
        self.audit.sent(command)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(told, [command])

    def test_outcomes_are_counted(self) -> None:
        self.audit = self.made(self.accepted())
        self.assertEqual((dict(self.audit.outcomes), sum(self.audit.seconds.counts)), ({("reset", "lost"): 1}, 0))
        command = self.accepted()
        self.world.clock.advance(1.5)
        self.audit.close(replace(command, outcome="done", ended_at=self.audit.now_ms()))
        self.assertEqual(dict(self.audit.outcomes), {("reset", "lost"): 1, ("reset", "done"): 1})
        self.assertEqual((sum(self.audit.seconds.counts), self.audit.seconds.total), (1, 1.5))

    def test_an_older_state_is_not_told_behind_the_end(self) -> None:
        """The event of the end is lost, so that the end is told at once, while the state before it waits."""
        told: list[Command] = []
        self.audit.subscribe(told.append)
        writing: Deferred[None] = Deferred()
        self.patch(self.world.store, "write", lambda rows: writing)
        command = self.accepted()
        self.audit.sent(command)
        confirmed = replace(command, confirmed=True)
        self.audit.confirmed(confirmed)
        self.patch(journal, "MOST_WAITING", 0)
        ended = replace(confirmed, outcome="done", ended_at=self.audit.now_ms())
        answered = self.successResultOf(self.audit.close(ended))
        self.assertEqual((told, answered.outcome), ([command, answered], "done"))
        writing.callback(None)
        self.assertEqual(told, [command, answered])
        self.assertIsNone(self.audit.as_told(command.number))

    def test_what_was_under_way_at_the_end_of_the_last_process_is_lost(self) -> None:
        self.audit = self.made(self.accepted())
        now_ms = self.audit.now_ms()
        (command,) = self.kept()
        self.assertEqual((command.outcome, command.ended_at), ("lost", now_ms))
        self.assertEqual(self.world.events[-1].kind, "commanded")
