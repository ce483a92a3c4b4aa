"""Stop: first in its device's queue, refused by nothing that could be otherwise, recorded sooner or later."""

from twisted.internet.defer import Deferred, fail

from cmmd.fleet import errors
from cmmd.fleet.commands.queue import STARTS_A_TURN, Requester, Submitted
from cmmd.fleet.commands.requests import Modbus, Named, Reset
from cmmd.fleet.commands.stop import OVERTAKEN, STOP_AUDIT_S, STOP_WAITS_S
from cmmd.fleet.devices.presence import Lost, NoAnswer, NotSent
from cmmd.fleet.errors import TooLate
from cmmd.fleet.fleet import CommandTerms
from cmmd.store.interface import StoreUnavailable
from cmmd.wire.messages import WriteConfig
from tests.test_fleet_commands_dispatcher import ALICE, Carrier, DispatchTestCase, Held
from tests.uploads import change_upload
from tests.world import HOSTID, World

STOP = "00050001FF00DC2B"
BOB = Requester("bob", "http")


class StopTestCase(DispatchTestCase):
    def frames(self) -> list[object]:
        return [one.result if isinstance(one, WriteConfig) else "reset" for one in self.carrier.asked]

    def end_of(self, submitted: Submitted) -> tuple[str | None, str | None]:
        command = self.ended(submitted)
        return command.outcome, command.reply

    def stop(self) -> Submitted:
        return self.successResultOf(Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Named(name="stop"), ALICE)))


class FirstTests(StopTestCase):
    def test_what_waits_is_not_sent_any_more(self) -> None:
        in_flight = self.submit("auto")
        self.carrier.send()
        waiting = [self.submit(name) for name in ("manual", "start", "manual", "start", "auto")]
        self.assert_not_allowed(errors.QueueFull)
        stop = self.stop()
        self.assertEqual([self.end_of(one) for one in waiting], [("not sent", OVERTAKEN)] * 5)
        self.carrier.answer()
        self.assertEqual(self.ended(in_flight).outcome, "done")
        self.assertEqual(self.frames()[1:], [STOP])
        self.carrier.answer()
        self.assertEqual(self.ended(stop).outcome, "done")
        self.assertEqual(len(self.dispatch), 0)

    def test_behind_what_is_never_answered(self) -> None:
        silent = self.submit("auto")
        self.carrier.send()
        stop = self.stop()
        self.world.clock.advance(STOP_WAITS_S - 0.1)
        self.assertEqual(len(self.carrier.asked), 1)
        self.world.clock.advance(0.1)
        self.assertEqual(self.frames()[1:], [STOP])
        after = self.submit("auto")
        self.carrier.answer()
        self.assertEqual(self.ended(stop).outcome, "done")
        self.assertNoResult(silent.ended)
        self.assertEqual(len(self.carrier.asked), 2, "one is in flight still")
        self.carrier.fail(NoAnswer("nothing came"))
        self.assertEqual(self.ended(silent).outcome, "timeout")
        self.assertEqual(len(self.carrier.asked), 3)
        self.carrier.answer()
        self.assertEqual(self.ended(after).outcome, "done")

    def test_before_what_has_not_left_yet(self) -> None:
        unsent = self.submit("start")
        stop = self.stop()
        self.assertEqual(self.end_of(unsent), ("not sent", OVERTAKEN))
        self.assertEqual(self.frames()[1:], [STOP])
        self.carrier.answer()
        self.assertEqual(self.ended(stop).outcome, "done")

    def test_a_second_one_joins_the_first_until_that_is_sent(self) -> None:
        self.submit("auto")
        self.carrier.send()
        first, second = self.stop(), self.stop()
        self.assertEqual(first.command.number, second.command.number)
        self.world.clock.advance(STOP_WAITS_S)
        self.assertEqual(self.stop().command.number, first.command.number, "it has not left yet")
        self.carrier.send()
        third = self.stop()
        self.assertNotEqual(third.command.number, first.command.number)
        self.carrier.answer()
        self.assertEqual((self.ended(first).outcome, self.ended(second).outcome), ("done", "done"))
        self.assertEqual(self.frames()[1:], [STOP], "the first command is not answered yet")
        self.world.clock.advance(STOP_WAITS_S)
        self.assertEqual(self.frames()[1:], [STOP, STOP])
        self.carrier.answer()
        self.assertEqual(self.ended(third).outcome, "done")

    def test_the_very_frame_of_stop_is_a_stop(self) -> None:
        self.world.fleet.uploads.change(change_upload(InhbitRemote=1), historic=False)
        for frames in (STOP, "00050001FF00", "0005 0001 ff00"):
            written = self.successResultOf(
                Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Modbus(frames=frames), ALICE))
            )
            self.assertEqual(written.command.name, "stop")
            self.carrier.answer()
        for frames in (f"{STOP};{STOP}", "00050000FF00"):
            self.assert_not_allowed(errors.RemoteInhibited, self.dispatch.submit(HOSTID, Modbus(frames=frames), ALICE))

    def test_after_a_reset(self) -> None:
        """A stop that waits for the answer to a reset is sent all the same; whether it arrives is another matter."""
        self.successResultOf(Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Reset(), ALICE)))
        self.carrier.send()
        stop = self.stop()
        self.carrier.answer()
        self.assertEqual(self.frames()[1:], [STOP])
        self.carrier.fail(NotSent("the connection ended before"), sent=False)
        self.assertEqual(self.ended(stop).outcome, "not sent")

    def test_a_stop_is_not_cancelled(self) -> None:
        """Whoever else has asked for it relies on it."""
        self.submit("auto")
        self.carrier.send()
        stop, again = self.stop(), self.stop()
        self.assertRaises(TooLate, self.dispatch.cancel, stop.command.number, "mallory")
        joined = [one.details for one in self.world.events if one.kind == "stop_joined"]
        self.assertEqual([(one["command"], one["requester"]) for one in joined], [(stop.command.number, "alice")])
        self.carrier.answer()
        self.carrier.answer()
        self.assertEqual((self.ended(stop).outcome, self.ended(again).outcome), ("done", "done"))

    def test_the_end_of_the_daemon(self) -> None:
        self.submit("auto")
        self.carrier.send()
        stop = self.stop()
        self.dispatch.stop()
        self.assertEqual(self.ended(stop).outcome, "not sent")


class MovedTests(StopTestCase):
    """A stop that has not left yet goes where the device is now."""

    def test_the_device_has_come_back(self) -> None:
        stop = self.stop()
        self.assertEqual(self.frames(), [STOP])
        old, self.carrier = self.carrier, Carrier()
        self.world.presence.attach(HOSTID, self.carrier)
        self.assertEqual((old.trips, self.frames()), ([], [STOP]))
        self.carrier.answer()
        self.assertEqual(self.ended(stop).outcome, "done")

    def test_its_connection_has_ended(self) -> None:
        self.submit("auto")
        stop = self.stop()
        old, self.carrier = self.carrier, Carrier()
        self.world.presence.detach(HOSTID, old)
        self.world.presence.attach(HOSTID, self.carrier)
        if old.trips:
            old.fail(NotSent("the connection ended before"), sent=False)
        self.carrier.answer()
        self.assertEqual(self.ended(stop).outcome, "done")
        self.assertEqual(self.frames(), [STOP])

    def test_what_was_sent_is_not_sent_again(self) -> None:
        stop = self.stop()
        self.carrier.send()
        old, self.carrier = self.carrier, Carrier()
        self.world.presence.attach(HOSTID, self.carrier)
        old.fail(Lost("the connection ended"))
        self.assertEqual((self.ended(stop).outcome, self.carrier.asked), ("lost", []))

    def test_others_do_not_move(self) -> None:
        command = self.submit("start")
        old, self.carrier = self.carrier, Carrier()
        self.world.presence.attach(HOSTID, self.carrier)
        old.answer()
        self.assertEqual((self.ended(command).outcome, self.carrier.asked), ("not sent", []))


class ManyTests(StopTestCase):
    def test_a_thousand_commands_under_way_elsewhere(self) -> None:
        self.world = World(commands=CommandTerms(), unknown_per_minute=100)
        self.prepare(self.world)
        hostids = [f"D{n}" for n in range(90)]
        for hostid in hostids:
            self.world.register(hostid)
            self.world.presence.attach(hostid, Carrier())
        self.world.write_batch()
        for _ in range(6):
            for hostid in hostids:
                self.successResultOf(Deferred.fromCoroutine(self.dispatch.submit(hostid, Named(name="auto"), BOB)))
        self.assertGreater(len(hostids), STARTS_A_TURN)
        self.stop()
        self.assertEqual(self.frames(), [STOP], "in the very turn of the reactor")


class UnhinderedTests(StopTestCase):
    def assert_stops(self) -> None:
        before = len(self.carrier.asked)
        stop = self.stop()
        self.assertEqual(self.frames()[before:], [STOP])
        self.carrier.answer()
        command = self.ended(stop)
        self.assertEqual((command.outcome, command.address), ("done", "192.0.2.7"))

    def test_inhibited_at_the_device(self) -> None:
        self.world.fleet.uploads.change(change_upload(InhbitRemote=1), historic=False)
        self.assert_not_allowed(errors.RemoteInhibited)
        self.assert_stops()

    def test_locked_at_the_panel(self) -> None:
        self.world.fleet.uploads.change(change_upload({}, {0: 1 << 4}), historic=False)
        self.assert_not_allowed(errors.RemoteLocked)
        self.assert_stops()

    def test_locked_for_maintenance(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.world.registry.lock(HOSTID, "bob", "belt")))
        self.assert_not_allowed(errors.Locked)
        self.assert_stops()

    def test_after_a_standstill(self) -> None:
        self.prepare(World(commands=CommandTerms(stood_still=lambda: 7.0)))
        self.assert_not_allowed(errors.Expired)
        self.assert_stops()

    def test_a_session_from_elsewhere(self) -> None:
        stranger = Carrier()
        stranger.peer = "198.51.100.9"
        self.world.presence.attach(HOSTID, stranger)
        self.assert_not_allowed(errors.AmbiguousSession)
        self.assert_stops()
        self.assertEqual(stranger.asked, [])

    def test_what_makes_it_impossible(self) -> None:
        self.world.presence.detach(HOSTID, self.carrier)
        self.assert_not_allowed(errors.DeviceOffline, self.dispatch.submit(HOSTID, Named(name="stop"), ALICE))
        self.prepare(World(commands=CommandTerms(enabled=False)))
        self.assert_not_allowed(errors.CommandsDisabled, self.dispatch.submit(HOSTID, Named(name="stop"), ALICE))
        self.assert_not_allowed(errors.UnknownDevice, self.dispatch.submit("X", Named(name="stop"), ALICE), "X")


class UnrecordedTests(StopTestCase):
    def setUp(self) -> None:
        self.store = Held()
        self.prepare(World(store=self.store))
        self.confirm()

    def confirm(self, error: bool = False) -> None:
        held, self.store.held = self.store.held, []
        for one in held:
            one.errback(StoreUnavailable("disk full")) if error else one.callback(None)

    def begin(self) -> Deferred[Submitted]:
        return Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Named(name="stop"), ALICE))

    def test_a_store_that_does_not_answer(self) -> None:
        stopping = self.begin()
        self.assertEqual(self.frames(), [])
        self.world.clock.advance(STOP_AUDIT_S)
        self.assertEqual(self.frames(), [STOP])
        self.carrier.answer()
        self.assertEqual(self.successResultOf(stopping).command.number, 1)
        self.confirm()
        self.world.write_batch()
        self.confirm()
        (command,) = self.audit()
        self.assertEqual((command.name, command.outcome), ("stop", "done"))

    def test_a_disk_that_is_full(self) -> None:
        stopping = self.begin()
        self.confirm(error=True)
        self.assertEqual(self.frames(), [STOP])
        self.carrier.answer()
        stopped = self.successResultOf(stopping)
        self.world.clock.advance(1)
        self.confirm()
        self.world.clock.advance(1)
        self.confirm()
        (command,) = self.audit()
        self.assertEqual((command.number, command.outcome), (stopped.command.number, "done"))

    def test_others_are_not_sent_without_a_record(self) -> None:
        starting = Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Named(name="start"), ALICE))
        self.confirm(error=True)
        self.failureResultOf(starting, errors.NotAudited)
        self.assertEqual(self.frames(), [])

    def test_a_store_that_fails_at_once(self) -> None:
        self.store.write = lambda rows: fail(StoreUnavailable("away"))  # type: ignore[method-assign]
        for _ in range(2):
            stopped = self.successResultOf(self.begin())
            self.carrier.answer()
            self.world.clock.advance(6)
            self.assertEqual(self.ended(stopped).outcome, "done")
        self.assertEqual(self.frames(), [STOP, STOP])


class OverrideTests(StopTestCase):
    def test_an_administrator_overrides_an_inhibit_for_one_command(self) -> None:
        self.world.fleet.uploads.change(change_upload(InhbitRemote=1), historic=False)
        admin = Requester("carol", "http", "admin")
        for by, override, kind in (
            (ALICE, "remote_inhibited", errors.AdminOnly),
            (admin, "locked", errors.NotAllowed),
            (admin, None, errors.RemoteInhibited),
        ):
            start = Named(name="start", override=override)  # type: ignore[arg-type]  # one is no override
            self.assert_not_allowed(kind, self.dispatch.submit(HOSTID, start, by))
        overridden = self.successResultOf(
            Deferred.fromCoroutine(
                self.dispatch.submit(HOSTID, Named(name="start", override="remote_inhibited"), admin)
            )
        )
        self.carrier.answer()
        self.assertEqual(self.ended(overridden).outcome, "done")
        self.assert_not_allowed(errors.RemoteInhibited)
        (command,) = self.audit()
        self.assertEqual((command.overridden, command.requester), ("remote_inhibited", "carol"))
