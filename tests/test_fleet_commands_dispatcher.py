"""Dispatch: what is allowed, one at a time for each device, never twice, always an outcome, and the audit."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet import errors
from cmmd.fleet.commands import requests
from cmmd.fleet.commands.dispatcher import LONGEST_WAIT_S
from cmmd.fleet.commands.interlocks import FRESH_S
from cmmd.fleet.commands.queue import STARTS_A_TURN, Requester, Submitted
from cmmd.fleet.commands.requests import Modbus, Named, Port
from cmmd.fleet.commands.verification import LOGIN_WINDOW_S, UPLOAD_WINDOW_S
from cmmd.fleet.devices.presence import Lost, NoAnswer, NotSent
from cmmd.fleet.errors import NoSuchCommand, TooLate
from cmmd.fleet.events import Kind
from cmmd.fleet.fleet import CommandTerms
from cmmd.modbus.frames import ExceptionResponse, Function
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Command, Event, Query, Row
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer
from tests.uploads import AT_REST, HGM6120N_PLAN, STANDBY, change_upload, full_upload
from tests.world import HOSTID, World

AUTO = "00050003FF007DEB"
ALICE = Requester("alice", "amp", "engineer")


class Trip:
    """A message on its way, and what waits for its answer."""

    def __init__(self, message: WriteConfig | Reset, leaves: Callable[[], bool]) -> None:
        self.message = message
        self.leaves = leaves
        self.sent = False
        self.answered: Deferred[Any] = Deferred()


class Carrier:
    """A live session whose device does what the test says, to the newest message first.

    :ivar asked: what it was asked to send, in order, whatever became of it.
    """

    peer = "192.0.2.7"
    carries_commands = True

    def __init__(self) -> None:
        self.asked: list[WriteConfig | Reset] = []
        self.timeouts: list[float] = []
        self.trips: list[Trip] = []

    def close(self) -> None:
        pass

    def round_trip(
        self, message: WriteConfig | Reset, timeout_s: float, leaves: Callable[[], bool]
    ) -> Deferred[WriteConfigAnswer | ResetAnswer]:
        trip = Trip(message, leaves)
        trip.answered = Deferred(lambda _: self.trips.remove(trip))
        self.asked.append(message)
        self.timeouts.append(timeout_s)
        self.trips.append(trip)
        return trip.answered

    @property
    def busy(self) -> bool:
        return bool(self.trips)

    def send(self) -> None:
        self._send(self.trips[-1])

    def _send(self, trip: Trip) -> bool:
        """Send, unless it must not go any more."""
        if not trip.sent and not trip.leaves():
            if trip in self.trips:
                self.trips.remove(trip)
            trip.answered.errback(NotSent("it was not to be sent any more"))
            return False
        trip.sent = True
        return True

    def answer(self, params: str | None = None, **port: int) -> None:
        """Send, and answer; by default as a device does that has done it."""
        trip = self.trips.pop()
        if not self._send(trip):
            return
        message = trip.message
        if isinstance(message, Reset):
            trip.answered.callback(ResetAnswer(hostid=HOSTID))
            return
        if params is None and not port:
            frames = str(message.result).split(";")
            params = ";".join(f"{frame},1" for frame in frames)
        trip.answered.callback(WriteConfigAnswer(params=params, hostid=HOSTID, uid=str(message.uid), **port))

    def fail(self, error: Exception, *, sent: bool = True) -> None:
        trip = self.trips.pop()
        if not sent or self._send(trip):
            trip.answered.errback(error)


class DispatchTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.prepare(World())

    def prepare(self, world: World) -> None:
        self.world = world
        self.dispatch = world.fleet.dispatch
        if world.registry.device(HOSTID) is None:
            world.register()
        self.carrier = Carrier()
        world.presence.attach(HOSTID, self.carrier)
        world.write_batch()
        self.told: list[Command] = []
        self.dispatch.audit.subscribe(self.told.append)

    def submit(self, name: str = "auto", hostid: str = HOSTID) -> Submitted:
        self.world.clock.advance(0)  # a turn of the reactor
        return self.successResultOf(Deferred.fromCoroutine(self.dispatch.submit(hostid, Named(name=name), ALICE)))

    def ended(self, submitted: Submitted) -> Command:
        return self.successResultOf(submitted.ended)

    def audit(self) -> list[Command]:
        self.world.write_batch()
        return self.successResultOf(Deferred.fromCoroutine(self.dispatch.audit.page(Query(limit=1000))))

    def assert_not_allowed(self, kind: type[errors.NotAllowed], asked: Any = None, hostid: str = HOSTID) -> None:
        before = len(self.carrier.asked)
        failure = self.failureResultOf(
            Deferred.fromCoroutine(asked or self.dispatch.submit(hostid, Named(name="auto"), ALICE)), errors.NotAllowed
        )
        self.assertIs(failure.type, kind)
        self.assertEqual(len(self.carrier.asked), before)


class OutcomeTests(DispatchTestCase):
    def test_done(self) -> None:
        submitted = self.submit()
        self.assertEqual(self.carrier.asked, [WriteConfig(result=AUTO, datatype=1, uid=submitted.command.uid)])
        self.assertEqual(self.carrier.timeouts, [30.0])
        self.assertNoResult(submitted.ended)
        self.world.clock.advance(0.5)
        self.carrier.answer()
        command = self.ended(submitted)
        self.assertEqual((command.outcome, command.reply, command.name), ("done", f"{AUTO},1", "auto"))
        self.assertEqual((command.requester, command.door, command.request), ("alice", "amp", AUTO))
        assert command.sent_at is not None
        assert command.ended_at is not None
        self.assertEqual(command.ended_at - command.accepted_at, 500)
        self.assertEqual([one.outcome for one in self.audit()], ["done"])
        event = self.world.events[-1]
        self.assertEqual(
            (event.kind, event.details),
            ("commanded", {"command": 1, "name": "auto", "requester": "alice", "outcome": "done"}),
        )

    def test_every_outcome(self) -> None:
        endings: Sequence[tuple[Callable[[], None], str]] = (
            (lambda: self.carrier.answer(f"{AUTO},0"), "refused"),
            (lambda: self.carrier.answer("0085020190,1"), "lost"),
            (lambda: self.carrier.answer("00050001FF00DC2B,1"), "lost"),
            (lambda: self.carrier.answer(f"{AUTO}"), "lost"),
            (lambda: self.carrier.answer("junk"), "lost"),
            (lambda: self.carrier.answer(f" {AUTO.lower()} ,1;"), "done"),
            (lambda: self.carrier.fail(NoAnswer()), "timeout"),
            (lambda: self.carrier.fail(Lost()), "lost"),
            (lambda: self.carrier.fail(NotSent("no quiet"), sent=False), "not sent"),
        )
        for ending, outcome in endings:
            submitted = self.submit()
            ending()
            self.assertEqual(self.ended(submitted).outcome, outcome)
        self.assertEqual([one.outcome for one in self.audit()], [outcome for _, outcome in endings])
        self.assertEqual([one.sent_at is None for one in self.audit()], [False] * 8 + [True])

    def test_a_modbus_exception_is_refused(self) -> None:
        submitted = self.submit()
        self.carrier.answer(f"{ExceptionResponse(0, Function.WRITE_COIL, 2).to_hex()},1")
        self.assertEqual(self.ended(submitted).outcome, "refused")

    def test_our_bug_is_not_called_failed(self) -> None:
        submitted = self.submit()
        self.carrier.fail(TypeError("bug"))
        self.assertEqual(self.ended(submitted).outcome, "lost")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.submit()
        self.assertEqual(len(self.carrier.asked), 2, "the next command works")

    def test_writes(self) -> None:
        for given, sent in (
            ("000500 03FF00 7DEB", AUTO),
            ("00050003ff00", AUTO),
            ("0006 0001 0002;00050003FF007DEB;", f"000600010002581A;{AUTO}"),
            ("0110000000010200050", None),
        ):
            asked = self.dispatch.submit(HOSTID, Modbus(frames=given), ALICE)
            if sent is None:
                self.assert_not_allowed(errors.BadFrame, asked)
                continue
            submitted = self.successResultOf(Deferred.fromCoroutine(asked))
            self.assertEqual(submitted.command.request, sent)
            self.carrier.answer()
            self.assertEqual(self.ended(submitted).outcome, "done")

    def written(self, frames: str) -> Submitted:
        return self.successResultOf(Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Modbus(frames=frames), ALICE)))

    def test_some_frames_done_and_some_not(self) -> None:
        first, second = "000600010002581A", AUTO
        submitted = self.successResultOf(
            Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Modbus(frames=f"{first};{second}"), ALICE))
        )
        self.carrier.answer(f"{first},1;{second},0")
        self.assertEqual(self.ended(submitted).outcome, "refused")
        submitted = self.successResultOf(
            Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Modbus(frames=f"{first};{second}"), ALICE))
        )
        self.carrier.answer(f"{first},1")
        self.assertEqual(self.ended(submitted).outcome, "lost", "of the second one nobody knows")

    def test_port(self) -> None:
        for port, outcome in ((2, "done"), (3, "lost")):
            submitted = self.successResultOf(
                Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Port(port=2, baud=1), ALICE))
            )
            message = self.carrier.asked[-1]
            assert isinstance(message, WriteConfig)
            self.assertEqual((message.modulePort, message.moduleBaud), (2, 1))
            self.carrier.answer(modulePort=port, moduleBaud=1)
            self.assertEqual(self.ended(submitted).outcome, outcome)

    def test_timeout_of_the_asker(self) -> None:
        self.successResultOf(
            Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Named(name="auto", timeout=2.5), ALICE))
        )
        self.assertEqual(self.carrier.timeouts, [2.5])

    def test_names_of_askers_are_printable(self) -> None:
        by = Requester("a\nb\x1b[31m" + "x" * 200, "amp")
        submitted = self.successResultOf(Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Named(name="auto"), by)))
        self.assertEqual(submitted.command.requester[:8], "a b [31m")
        self.assertEqual(len(submitted.command.requester), 100)


class ManyAtOnceTests(DispatchTestCase):
    def test_some_are_sent_in_each_turn_of_the_reactor(self) -> None:
        """However many come at once: answers are looked at in between, and the order stays."""
        carriers = [Carrier() for _ in range(3 * STARTS_A_TURN)]
        for number, carrier in enumerate(carriers):
            self.world.register(f"MANY{number}")
            self.world.presence.attach(f"MANY{number}", carrier)
        self.world.clock.advance(0)
        for number in range(len(carriers)):
            self.successResultOf(
                Deferred.fromCoroutine(self.dispatch.submit(f"MANY{number}", Named(name="auto"), ALICE))
            )
        sent = [bool(carrier.asked) for carrier in carriers]
        self.assertEqual(sent, [number < STARTS_A_TURN for number in range(len(carriers))])
        self.world.clock.advance(0)
        self.assertTrue(all(len(carrier.asked) == 1 for carrier in carriers))


class TakenBackTests(DispatchTestCase):
    """What was not sent in its time, or is not what it was, is not sent."""

    def test_held_up_behind_what_was_cancelled(self) -> None:
        carriers = [Carrier() for _ in range(3 * STARTS_A_TURN)]
        submitted = []
        for number, carrier in enumerate(carriers):
            self.world.register(f"MANY{number}")
            self.world.presence.attach(f"MANY{number}", carrier)
        self.world.clock.advance(0)
        for number in range(len(carriers)):
            asking = Deferred.fromCoroutine(self.dispatch.submit(f"MANY{number}", Named(name="auto"), ALICE))
            submitted.append(self.successResultOf(asking))
        for one in submitted[STARTS_A_TURN : 2 * STARTS_A_TURN]:
            self.dispatch.cancel(one.command.number, "bob")
        self.world.clock.advance(0)
        self.assertEqual(
            [len(carrier.asked) for carrier in carriers],
            [number // STARTS_A_TURN != 1 for number in range(len(carriers))],
        )

    def test_too_old(self) -> None:
        first, second = self.submit(), self.submit("start")
        self.carrier.send()
        self.world.clock.advance(LONGEST_WAIT_S)
        command = self.ended(second)
        self.assertEqual((command.outcome, command.reply), ("not sent", "it waited too long"))
        self.carrier.answer()
        self.assertEqual(self.ended(first).outcome, "done")
        self.assertEqual(len(self.carrier.asked), 1)

    def test_no_quiet_on_the_line_for_too_long(self) -> None:
        submitted = self.submit()
        self.world.clock.advance(LONGEST_WAIT_S)
        self.assertEqual(self.ended(submitted).outcome, "not sent")
        self.submit()
        self.assertEqual(len(self.carrier.asked), 2)

    def test_a_store_that_does_not_answer(self) -> None:
        store = Held()
        self.world = World(store=store)
        registering = self.world.register
        registering()
        self.prepare(self.world)
        asking = Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Named(name="start"), ALICE))
        self.assertNoResult(asking)
        self.world.clock.advance(LONGEST_WAIT_S)
        self.failureResultOf(asking, errors.NotAudited)
        while store.held:
            store.held.pop(0).callback(None)
        self.world.clock.pump([1.0] * 10)
        self.assertEqual(self.carrier.asked, [])

    def test_an_outcome_does_not_wait_for_the_store_for_ever(self) -> None:
        submitted = self.submit()
        self.patch(self.world.store, "write", lambda _: Deferred())
        self.carrier.answer()
        self.assertNoResult(submitted.ended)
        self.world.clock.advance(10)
        self.assertEqual(self.ended(submitted).outcome, "done")

    def test_cancelled_before_it_is_sent(self) -> None:
        submitted = self.submit()
        cancelled = self.successResultOf(self.dispatch.cancel(submitted.command.number, "bob"))
        self.assertEqual(cancelled.outcome, "not sent")
        self.assertEqual(self.ended(submitted).reply, "cancelled by bob")
        self.submit()
        self.assertEqual(len(self.carrier.asked), 2)

    def test_another_controller(self) -> None:
        first, second = self.submit(), self.submit("start")
        self.carrier.send()
        self.successResultOf(Deferred.fromCoroutine(self.world.registry.set(HOSTID, "admin", profile="hgm4000n")))
        self.carrier.answer()
        self.ended(first)
        command = self.ended(second)
        self.assertEqual(command.outcome, "not sent")
        self.assertIn("another controller profile", command.reply or "")

    def test_behind_a_reset(self) -> None:
        reset = self.successResultOf(Deferred.fromCoroutine(self.dispatch.submit(HOSTID, requests.Reset(), ALICE)))
        second = self.submit("start")
        self.carrier.answer()
        self.assertEqual(self.ended(reset).outcome, "done")
        self.assertEqual(self.ended(second).reply, "the module restarts")

    def test_a_bug_in_between_holds_nobody_up(self) -> None:
        self.patch(self.carrier, "round_trip", lambda *_: 1 / 0)
        submitted = self.submit()
        self.assertEqual(self.ended(submitted).outcome, "lost")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_burst_before_the_store_has_answered(self) -> None:
        store = Held()
        self.prepare(World(store=store))
        asking = [Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Named(name="auto"), ALICE)) for _ in range(20)]
        refused = [one for one in asking if one.called]
        self.assertEqual(len(refused), 20 - 6)
        for one in refused:
            self.failureResultOf(one, errors.QueueFull)
        for one in asking:
            one.addErrback(lambda _: None)


class LockedTests(DispatchTestCase):
    def lock(self) -> None:
        self.world.fleet.uploads.change(change_upload({}, {0: 1 << 4}), historic=False)
        self.assert_not_allowed(errors.RemoteLocked)

    def test_a_lock_outlasts_a_restart(self) -> None:
        self.lock()
        self.successResultOf(self.world.fleet.save())
        self.prepare(World(store=self.world.store, start_s=self.world.clock.seconds() + 60))
        self.assert_not_allowed(errors.RemoteLocked)
        self.world.fleet.uploads.change(change_upload({}, {0: 0}), historic=False)
        self.submit()

    def test_a_lock_outlasts_another_controller(self) -> None:
        self.lock()
        for profile in ("hgm4000n", None):
            self.successResultOf(Deferred.fromCoroutine(self.world.registry.set(HOSTID, "admin", profile=profile)))
            self.world.fleet.uploads.change(change_upload({6: 0x0101}), historic=False)
            self.assert_not_allowed(errors.RemoteLocked)
        self.world.fleet.uploads.change(change_upload({}, {0: 0}), historic=False)
        self.submit()


class AllowedTests(DispatchTestCase):
    def test_interlocks(self) -> None:
        self.assert_not_allowed(errors.UnknownDevice, hostid="nobody")
        self.assert_not_allowed(errors.UnknownCommand, self.dispatch.submit(HOSTID, Named(name="explode"), ALICE))
        self.assert_not_allowed(errors.BadFrame, self.dispatch.submit(HOSTID, Modbus(frames="01030000002D85D7"), ALICE))
        self.assert_not_allowed(errors.BadFrame, self.dispatch.submit(HOSTID, Modbus(frames="00050003FF007DEC"), ALICE))
        self.assert_not_allowed(
            errors.BadFrame, self.dispatch.submit(HOSTID, Modbus(frames=";".join([AUTO] * 17)), ALICE)
        )
        self.assert_not_allowed(errors.BadFrame, self.dispatch.submit(HOSTID, Modbus(frames=""), ALICE))
        self.assert_not_allowed(errors.BadPort, self.dispatch.submit(HOSTID, Port(port=5, baud=0), ALICE))
        self.assert_not_allowed(errors.BadPort, self.dispatch.submit(HOSTID, Port(port=0, baud=3), ALICE))
        uploads = self.world.fleet.uploads
        uploads.change(change_upload(InhbitRemote=1), historic=False)
        self.assert_not_allowed(errors.RemoteInhibited)
        self.assert_not_allowed(errors.RemoteInhibited, self.dispatch.submit(HOSTID, requests.Reset(), ALICE))
        uploads.change(change_upload({}, {0: 1 << 4}, InhbitRemote=0), historic=False)
        self.assert_not_allowed(errors.RemoteLocked)
        uploads.change(change_upload({}, {0: 0}), historic=False)
        self.submit()
        self.world.presence.detach(HOSTID, self.carrier)
        self.assert_not_allowed(errors.DeviceOffline)
        self.assertEqual(len(self.audit()), 1, "what is not allowed is not in the audit")

    def test_commands_disabled(self) -> None:
        self.prepare(World(commands=CommandTerms(enabled=False)))
        self.assert_not_allowed(errors.CommandsDisabled)

    def test_after_a_standstill(self) -> None:
        """Neither what comes then, which may have waited to be read, nor what has waited for its turn."""
        stood_still_s = 0.0
        self.prepare(World(commands=CommandTerms(stood_still=lambda: stood_still_s)))
        self.submit("manual")
        waiting = self.submit("auto")
        stood_still_s = 12.0
        self.assert_not_allowed(errors.Expired)
        self.carrier.answer()
        self.assertEqual(self.ended(waiting).outcome, "not sent")
        stood_still_s = 0.0
        self.submit("auto")
        self.assertEqual(len(self.carrier.asked), 2)

    def test_a_disabled_device(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.world.registry.set(HOSTID, "admin", enabled=False)))
        self.assert_not_allowed(errors.DeviceDisabled)

    def test_without_an_audit_nothing_is_sent(self) -> None:
        self.patch(self.world.store, "write", lambda _: fail(StoreUnavailable("disk full")))
        self.assert_not_allowed(errors.NotAudited)
        self.assert_not_allowed(errors.NotAudited)
        self.patch(self.world.store, "write", lambda _: succeed(None))
        self.world.clock.pump([1.0] * 3)
        self.submit()
        self.assertEqual(len(self.carrier.asked), 1)

    def test_codes_are_stable(self) -> None:
        kinds = {
            one.code: one
            for one in vars(errors).values()
            if isinstance(one, type) and issubclass(one, errors.NotAllowed)
        }
        self.assertEqual(
            sorted(kinds),
            [
                "admin_only", "ambiguous_session", "bad_frame", "bad_port", "commands_disabled", "device_disabled",
                "device_offline", "engineer_only", "expired", "locked", "not_allowed", "not_audited", "out_of_range",
                "queue_full", "raw_disabled", "remote_inhibited", "remote_locked", "stale", "unknown_command",
                "unknown_device",
            ],
        )  # fmt: skip


class QueueTests(DispatchTestCase):
    def test_one_at_a_time_in_order(self) -> None:
        submitted = [self.submit(name) for name in ("manual", "start", "auto")]
        for number, one in enumerate(submitted, 1):
            self.assertEqual(len(self.carrier.asked), number)
            self.assertNoResult(one.ended)
            self.carrier.answer()
            self.ended(one)
        frames = [message.result for message in self.carrier.asked if isinstance(message, WriteConfig)]
        self.assertEqual(frames, ["00050004FF00CC2A", "00050000FF008DEB", AUTO])

    def test_the_queue_is_bounded(self) -> None:
        for _ in range(6):
            self.submit()
        self.assert_not_allowed(errors.QueueFull)
        self.carrier.answer()
        self.submit()
        self.assert_not_allowed(errors.QueueFull)

    def test_other_devices_do_not_wait(self) -> None:
        self.submit()
        self.world.register("B")
        other = Carrier()
        self.world.presence.attach("B", other)
        self.submit(hostid="B")
        self.assertEqual(len(other.asked), 1)

    def test_cancelled_while_it_waits(self) -> None:
        first, second, third = (self.submit() for _ in range(3))
        self.assertEqual(len(self.dispatch), 3)
        cancelled = self.successResultOf(self.dispatch.cancel(second.command.number, "bob"))
        self.assertEqual(cancelled.outcome, "not sent")
        self.assertEqual(self.ended(second).reply, "cancelled by bob")
        self.carrier.send()
        self.assertRaises(TooLate, self.dispatch.cancel, first.command.number, "bob")
        self.assertRaises(NoSuchCommand, self.dispatch.cancel, second.command.number, "bob")
        self.carrier.answer()
        self.carrier.answer()
        self.assertEqual((self.ended(first).outcome, self.ended(third).outcome), ("done", "done"))
        self.assertEqual(len(self.carrier.asked), 2)
        self.assertIsNone(self.dispatch.under_way(3))
        self.assertEqual(len(self.dispatch), 0)

    def test_what_waited_is_looked_at_again(self) -> None:
        """Somebody has locked remote control at the panel meanwhile."""
        self.submit()
        second = self.submit("start")
        self.world.fleet.uploads.change(change_upload({}, {0: 1 << 4}), historic=False)
        self.carrier.answer()
        command = self.ended(second)
        self.assertEqual(command.outcome, "not sent")
        self.assertIn("locked", command.reply or "")
        self.assertEqual(len(self.carrier.asked), 1)

    def test_the_end(self) -> None:
        first, second = self.submit(), self.submit()
        self.carrier.send()
        self.dispatch.stop()
        self.assertEqual(self.ended(second).outcome, "not sent")
        self.assert_not_allowed(errors.CommandsDisabled)
        self.carrier.fail(Lost())
        self.assertEqual(self.ended(first).outcome, "lost")
        self.assertEqual(len(self.carrier.asked), 1)

    def test_uids_come_back(self) -> None:
        uids = set()
        for _ in range(50):
            submitted = self.submit()
            self.carrier.answer()
            uids.add(self.ended(submitted).uid)
        self.assertEqual(len(uids), 50)


class ConfirmationTests(DispatchTestCase):
    def confirmed(self, number: int) -> bool | None:
        (command,) = [one for one in self.audit() if one.number == number]
        self.assertEqual(command.confirmed is None, command.confirmed_at is None)
        return command.confirmed

    def upload(self, registers: dict[int, int], coils: set[int]) -> None:
        self.world.fleet.uploads.full(full_upload({**STANDBY, **registers}, coils), HGM6120N_PLAN, historic=False)

    def test_shown_by_a_signal(self) -> None:
        self.upload({}, {42})
        submitted = self.submit()
        self.carrier.answer()
        self.upload({}, {42})
        self.assertIsNone(self.confirmed(1))
        self.upload({}, {41})
        self.assertIs(self.confirmed(1), True)
        self.assertEqual(self.told[-1].confirmed, True)
        self.assertEqual(self.ended(submitted).outcome, "done")
        self.world.clock.advance(UPLOAD_WINDOW_S * 2)
        self.assertIs(self.confirmed(1), True)

    def test_not_shown(self) -> None:
        self.upload({}, {42})
        self.submit()
        self.carrier.answer()
        self.world.clock.advance(UPLOAD_WINDOW_S - 1)
        self.upload({}, {42})
        self.assertIsNone(self.confirmed(1))
        self.world.clock.advance(1)
        self.assertIs(self.confirmed(1), False)

    def test_shown_by_what_changes_and_what_leaves(self) -> None:
        self.upload({}, set(AT_REST))
        for name, registers, coils in (
            ("generator_breaker_toggle", {}, {*AT_REST, 7}),
            ("start", {34: 1}, set(AT_REST)),
        ):
            submitted = self.submit(name)
            self.carrier.answer()
            self.upload({}, set(AT_REST))
            self.assertIsNone(self.confirmed(submitted.command.number))
            self.upload(registers, coils)
            self.assertIs(self.confirmed(submitted.command.number), True)

    def test_shown_by_a_signal_that_clears(self) -> None:
        self.world.register(moduletype="HGM6110N")
        self.successResultOf(Deferred.fromCoroutine(self.world.registry.set(HOSTID, "admin", profile="hgm6110n")))
        for name, frame, before, after in (
            ("generator_breaker_open", "00050005FF009DEA", {7}, set[int]()),
            ("generator_breaker_close", "00050006FF006DEA", set[int](), {7}),
        ):
            self.upload({}, before)
            submitted = self.submit(name)
            self.assertEqual(submitted.command.request, frame)
            self.carrier.answer()
            self.upload({}, before)
            self.assertIsNone(self.confirmed(submitted.command.number))
            self.upload({}, after)
            self.assertIs(self.confirmed(submitted.command.number), True)

    def test_nobody_knows_how_it_was_before(self) -> None:
        admin = Requester("carol", "amp", "admin")
        submitting = self.dispatch.submit(
            HOSTID, Named(name="mains_breaker_toggle", timeout=None, override="stale"), admin
        )
        submitted = self.successResultOf(Deferred.fromCoroutine(submitting))
        self.carrier.answer()
        self.upload({}, {6})
        self.world.clock.advance(UPLOAD_WINDOW_S * 2)
        self.assertIsNone(self.confirmed(submitted.command.number))

    def test_what_is_turned_round_has_to_be_known_now(self) -> None:
        """Unknown, from before a restart, or older than a minute: what a toggle would do nobody knows."""

        def toggle() -> Any:
            return self.dispatch.submit(HOSTID, Named(name="generator_breaker_toggle"), ALICE)

        self.assert_not_allowed(errors.Stale, toggle())
        self.upload({}, set(AT_REST))
        self.world.clock.advance(FRESH_S)
        self.submit("generator_breaker_toggle")
        self.carrier.answer()
        self.world.clock.advance(1)
        self.assert_not_allowed(errors.Stale, toggle())
        self.upload({}, set(AT_REST))
        self.world.write_batch()
        self.prepare(World(store=self.world.store, start_s=self.world.clock.seconds() + 1))
        self.assert_not_allowed(errors.Stale, toggle())

    def test_what_waited_has_become_stale(self) -> None:
        self.upload({}, set(AT_REST))
        self.submit("auto")
        self.carrier.send()
        self.world.clock.advance(30)
        second = self.submit("generator_breaker_toggle")
        self.world.clock.advance(FRESH_S - 29)
        self.carrier.answer()
        command = self.ended(second)
        self.assertEqual((command.outcome, len(self.carrier.asked)), ("not sent", 1))
        self.assertIn("not known now", command.reply or "")

    def test_an_unknown_outcome_may_be_confirmed(self) -> None:
        """Whether it was done nobody answered; that the mode is another one everybody sees."""
        self.upload({}, {42})
        submitted = self.submit()
        self.carrier.fail(NoAnswer())
        self.upload({}, {41})
        self.assertEqual((self.ended(submitted).outcome, self.confirmed(1)), ("timeout", True))

    def test_what_was_refused_is_not_looked_for(self) -> None:
        self.upload({}, {42})
        self.submit()
        self.carrier.answer(f"{AUTO},0")
        self.upload({}, {41})
        self.assertIsNone(self.confirmed(1))

    def test_a_reset_is_confirmed_by_the_next_login(self) -> None:
        for logs_in in (True, False):
            submitted = self.successResultOf(
                Deferred.fromCoroutine(self.dispatch.submit(HOSTID, requests.Reset(), ALICE))
            )
            self.carrier.answer()
            self.assertEqual(self.ended(submitted).outcome, "done")
            self.world.clock.advance(LOGIN_WINDOW_S - 1)
            device = self.world.registry.device(HOSTID)
            assert device is not None
            if logs_in:
                self.world.fleet.logged_in(device)
                self.world.presence.detach(HOSTID, self.carrier)
                self.world.presence.attach(HOSTID, self.carrier)
            self.world.clock.advance(2)
            self.assertIs(self.confirmed(submitted.command.number), logs_in)

    def test_the_end_leaves_no_timer(self) -> None:
        self.upload({}, {42})
        self.submit()
        self.carrier.answer()
        self.dispatch.stop()
        self.world.write_batch()
        self.assertEqual([call for call in self.world.clock.getDelayedCalls() if "settle" in str(call)], [])


class RestartTests(DispatchTestCase):
    def test_what_was_under_way_is_lost_and_not_sent_again(self) -> None:
        self.submit()
        self.submit("start")
        self.carrier.send()
        self.prepare(World(store=self.world.store, start_s=self.world.clock.seconds() + 60))
        self.assertEqual(self.carrier.asked, [])
        audit = self.audit()
        self.assertEqual([(one.number, one.outcome) for one in audit], [(1, "lost"), (2, "lost")])
        self.assertTrue(all(one.ended_at is not None for one in audit))
        self.assertEqual(self.submit().command.number, 3)


class Held(MemoryStore):
    """Confirms writes when it is told to, but for the event of a first login, which waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Deferred[None]] = []

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        if any(isinstance(row, Event) and row.kind == Kind.DEVICE_REGISTERED for row in rows):
            return super().write(rows)
        written: Deferred[None] = Deferred()
        self.held.append(written)
        return written.addCallback(lambda _: super(Held, self).write(rows))


class Interleaving(RuleBasedStateMachine):
    """Commands, answers, failures, disconnects, cancels, confirmations of the store, time: in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Held()
        self.world = World(store=self.store)
        self.world.register()
        self.dispatch = self.world.fleet.dispatch
        self.carrier: Carrier | None = None
        self.everything_asked: list[Carrier] = []
        self.accepted: list[Submitted] = []
        self.outcomes: dict[int, list[str | None]] = {}
        self.refused = 0

    @rule()
    def connect(self) -> None:
        if self.carrier is None:
            self.carrier = Carrier()
            self.everything_asked.append(self.carrier)
            self.world.presence.attach(HOSTID, self.carrier)

    @rule()
    def disconnect(self) -> None:
        if self.carrier is not None:
            carrier, self.carrier = self.carrier, None
            self.world.presence.detach(HOSTID, carrier)
            while carrier.busy:
                carrier.fail(Lost())

    @rule(name=st.sampled_from(["auto", "start", "manual", "stop"]))
    def submit(self, name: str) -> None:
        submitting = Deferred.fromCoroutine(self.dispatch.submit(HOSTID, Named(name=name), ALICE))
        submitting.addCallbacks(self.was_accepted, self.was_refused)

    def was_accepted(self, submitted: Submitted) -> None:
        outcomes = self.outcomes[len(self.accepted)] = []  # of each caller: a stop joins one that has not left yet
        self.accepted.append(submitted)
        submitted.ended.addCallback(lambda command: outcomes.append(command.outcome))

    def was_refused(self, failure: Any) -> None:
        failure.trap(errors.NotAllowed)
        self.refused += 1

    @rule(how=st.sampled_from(["done", "refused", "junk"]))
    def answer(self, how: str) -> None:
        if self.carrier is not None and self.carrier.busy:
            self.carrier.answer({"done": None, "refused": f"{AUTO},0", "junk": "?"}[how])

    @rule(error=st.sampled_from([NoAnswer, NotSent]))
    def fails(self, error: type[Exception]) -> None:
        if self.carrier is not None and self.carrier.busy:
            self.carrier.fail(error(), sent=error is NoAnswer)

    @rule(place=st.integers(0, 9))
    def cancel(self, place: int) -> None:
        if place < len(self.accepted):
            with contextlib.suppress(TooLate, NoSuchCommand):
                self.dispatch.cancel(self.accepted[place].command.number, "bob")

    @rule(ok=st.booleans())
    def confirm_a_write(self, ok: bool) -> None:
        if self.store.held:
            written = self.store.held.pop(0)
            written.callback(None) if ok else written.errback(StoreUnavailable("away"))

    @rule(seconds=st.sampled_from([0.2, 2.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @invariant()
    def never_more_than_one_outcome(self) -> None:
        assert all(len(outcomes) <= 1 for outcomes in self.outcomes.values())

    @invariant()
    def never_sent_twice(self) -> None:
        uids = [
            message.uid for one in self.everything_asked for message in one.asked if isinstance(message, WriteConfig)
        ]
        assert len(uids) == len(set(uids))

    def teardown(self) -> None:
        self.dispatch.stop()
        self.disconnect()
        for _ in range(50):
            while self.store.held:
                self.store.held.pop(0).callback(None)
            self.world.clock.advance(31)
        assert all(len(outcomes) == 1 for outcomes in self.outcomes.values()), self.outcomes
        audited: list[list[Command]] = []
        self.store.commands(Query(limit=1000)).addCallback(audited.append)
        assert all(one.outcome is not None for one in audited[0]), audited
        told = {one.number: one.outcome for one in audited[0]}
        for place, outcomes in self.outcomes.items():
            assert told[self.accepted[place].command.number] == outcomes[0]


class InterleavingTests(SynchronousTestCase):
    def test_every_command_ends_exactly_once(self) -> None:
        run_state_machine_as_test(
            Interleaving, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
        )
