"""What is told is durable, at every door: changes, commands, events, first logins; or it is marked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from cmmd.control import commands
from cmmd.fleet.alarms.alarms import SESSION_TAKEN_OVER
from cmmd.fleet.devices.registry import LoginRefused
from cmmd.fleet.events import Kind
from cmmd.fleet.history.journal import RECORD_S, Journal
from cmmd.fleet.history.told import when_recorded
from cmmd.fleet.service.records import Changes
from cmmd.fleet.service.table import OPERATIONS
from cmmd.store.records import Command, Event
from tests.control_world import Plain, now
from tests.shaky_store import AWAY, WELL, ShakyStore
from tests.web_world import WebWorld
from tests.world import HOSTID, login_params

NEW = "NEW1"


class Change(NamedTuple):
    """A change, at both doors.

    :ivar http: method, path and body, by the name of the operation of the API. :ivar amp: arguments of its command.
    :ivar before: what comes first.
    """

    http: dict[str, tuple[str, str, object]]
    amp: dict[str, Any]
    before: Callable[[WebWorld], object] = lambda _: None


def raised(world: WebWorld) -> None:
    world.fleet.alarms.raise_own(HOSTID, SESSION_TAKEN_OVER)


def waits(world: WebWorld) -> None:
    world.fleet.registry.enrolment.set_policy("approve")
    try:
        now(world.fleet.registry.login(login_params(NEW), "192.0.2.9"))
    except LoginRefused:
        return
    raise AssertionError("it is let in")


def locked(world: WebWorld) -> None:
    now(world.fleet.registry.lock(HOSTID, "token admin", "work"))


ON_DEVICE = f"/devices/{HOSTID}"
CHANGES = {
    "acknowledge": Change({"acknowledge_alarm": ("POST", "/alarms/1/acknowledge", None)}, {"alarm": 1}, raised),
    "set_device": Change(
        {
            "change_settings": ("PATCH", f"{ON_DEVICE}/settings", {"history_interval": 30}),
            "disable_device": ("POST", f"{ON_DEVICE}/disable", None),
            "enable_device": ("POST", f"{ON_DEVICE}/enable", None),
        },
        {"hostid": HOSTID, "changes": Changes(history_interval=30.0)},
    ),
    "enrol": Change({"enrol_device": ("POST", "/devices", {"hostid": NEW})}, {"hostid": NEW}),
    "set_enrolment": Change({"set_enrolment": ("PUT", "/enrolment", {"policy": "known"})}, {"policy": "known"}),
    "approve": Change({"approve_device": ("POST", f"/enrolment/{NEW}/approve", None)}, {"hostid": NEW}, waits),
    "reject": Change({"reject_device": ("DELETE", f"/enrolment/{NEW}", None)}, {"hostid": NEW}, waits),
    "forget": Change({"forget_device": ("DELETE", ON_DEVICE, None)}, {"hostid": HOSTID}, raised),
    "reset_password": Change(
        {"reset_password": ("POST", f"{ON_DEVICE}/reset-password", {"password": None})}, {"hostid": HOSTID}
    ),
    "lock": Change(
        {"lock_device": ("PUT", f"{ON_DEVICE}/lock", {"reason": "work"})}, {"hostid": HOSTID, "reason": "work"}
    ),
    "unlock": Change(
        {"unlock_device": ("DELETE", f"{ON_DEVICE}/lock", None)}, {"hostid": HOSTID, "force": True}, locked
    ),
    "clear_input": Change(
        {"clear_input": ("DELETE", f"{ON_DEVICE}/inputs/remote_inhibited", None)},
        {"hostid": HOSTID, "input": "remote_inhibited"},
        lambda world: world.inhibit(),
    ),
}
"""By the operation. Where the device has to be enabled or disabled first does not matter: that is a change, too."""

ONLY_IN_MEMORY = {"reject"}
"""What waits for approval is not kept."""


class Told(SynchronousTestCase):
    def new_world(self) -> None:
        self.store = ShakyStore()
        self.world = WebWorld(Path(self.mktemp()), store=self.store)
        self.world.online()
        self.token = self.world.tokens.add("root", "admin")
        self.settled()

    def settled(self) -> None:
        self.world.world.write_batch()

    def setUp(self) -> None:
        self.new_world()

    def prepared(self, change: Change) -> None:
        self.new_world()
        change.before(self.world)
        self.settled()
        self.store.hold()


class ChangeTests(Told):
    def test_each_is_here(self) -> None:
        changing = {name: doors for name, doors in OPERATIONS.items() if doors.changes}
        self.assertEqual(set(CHANGES), set(changing))
        for name, doors in changing.items():
            self.assertEqual(set(CHANGES[name].http), set(doors.http))
        others = {name for name, doors in OPERATIONS.items() if doors.role != "viewer" and not doors.changes}
        self.assertEqual(
            others, {"submit", "cancel", "enrolment", "security_events"}, "told by the audit, or only read"
        )

    def begin(self, method: str, path: str, body: object) -> Any:
        return self.world.begin(method, f"/api/v1{path}", token=self.token, body=body)

    def test_http_answers_when_it_is_durable(self) -> None:
        for name, change in CHANGES.items():
            for method, path, body in change.http.values():
                self.prepared(change)
                client = self.begin(method, path, body)
                answer = self.world.settle(client)
                if name not in ONLY_IN_MEMORY:
                    self.assertIsNone(answer, path)
                    while self.store.held:
                        self.store.let_go(1)
                        self.world.clock.advance(0)
                    answer = self.world.settle(client)
                assert answer is not None, path
                self.assertIn(answer.status, (200, 201, 204), path)
                self.assertNotIn(b'"recorded"', answer.body)
                self.assertEqual(len(self.world.fleet.journal), 0)

    def test_http_where_the_store_hangs(self) -> None:
        for name, change in CHANGES.items():
            for method, path, body in change.http.values():
                if name in ONLY_IN_MEMORY:
                    continue
                self.prepared(change)
                client = self.begin(method, path, body)
                self.world.settle(client)
                self.world.clock.advance(RECORD_S)
                answer = self.world.settle(client)
                assert answer is not None, path
                self.assertIs(answer.json["recorded"], False)
                self.assertEqual(answer.status, 202 if len(answer.json) == 1 else 200, path)
                self.store.let_go()
                self.assertIsNone(client.answer())

    def test_http_where_the_change_has_a_result(self) -> None:
        raised(self.world)
        self.settled()
        self.store.hold()
        client = self.begin("POST", "/alarms/1/acknowledge", None)
        self.world.clock.advance(RECORD_S)
        answer = self.world.settle(client)
        assert answer is not None
        self.assertEqual((answer.status, answer.json["recorded"]), (200, False))
        self.assertEqual(answer.json["acknowledged_by"], "token root")
        again = self.world.settle(self.begin("POST", "/alarms/1/acknowledge", None))
        assert again is not None, "it is known that the store hangs"
        self.assertIs(again.json["recorded"], False)
        self.store.let_go()
        self.world.clock.advance(0)
        answer = self.world.settle(self.begin("POST", "/alarms/1/acknowledge", None))
        assert answer is not None
        self.assertNotIn("recorded", answer.json)

    def test_a_change_that_is_refused_is_refused_at_once(self) -> None:
        self.store.hold()
        answer = self.world.settle(self.begin("POST", "/alarms/99/acknowledge", None))
        assert answer is not None
        self.assertEqual(answer.code, "no_such_alarm")

    def test_a_change_that_fails_after_its_answer(self) -> None:
        self.store.hold()
        client = self.begin("PATCH", f"{ON_DEVICE}/settings", {"history_interval": 30})
        self.world.clock.advance(RECORD_S)
        answer = self.world.settle(client)
        assert answer is not None
        self.assertEqual((answer.status, answer.json), (202, {"recorded": False}))
        self.store.state = AWAY
        self.store.let_go()
        device = self.world.fleet.registry.device(HOSTID)
        assert device is not None
        self.assertIsNone(device.history_interval)

    def test_amp_answers_when_it_is_durable(self) -> None:
        for name, change in CHANGES.items():
            self.prepared(change)
            program = Plain(self.world)
            answering = self.amp(program, name, change)
            if name not in ONLY_IN_MEMORY:
                self.assertNoResult(answering)
                while self.store.held:
                    self.store.let_go(1)
                    self.world.clock.advance(0)
                program.pump()
            self.assertIsNone(self.successResultOf(answering)["recorded"], name)

    def test_amp_where_the_store_hangs(self) -> None:
        for name, change in CHANGES.items():
            if name in ONLY_IN_MEMORY:
                continue
            self.prepared(change)
            program = Plain(self.world)
            answering = self.amp(program, name, change)
            self.world.clock.advance(RECORD_S)
            program.pump()
            if not answering.called:  # it has no result yet: then it comes late
                self.assertNotIn(name, ("acknowledge", "set_enrolment"))
            for _ in range(3):
                if not answering.called:
                    self.store.let_go(1)
                    self.world.clock.advance(RECORD_S)
                    program.pump()
            recorded = self.successResultOf(answering)["recorded"]
            self.assertIs(recorded, None if name in ("enrol", "approve") else False, "all that is kept is the device")

    def amp(self, program: Plain, name: str, change: Change) -> Deferred[dict[str, Any]]:
        (command,) = OPERATIONS[name].amp
        kind: type[amp.Command] = getattr(commands, command)
        return program.begin(kind, requester=None, **change.amp)


class CommandTests(Told):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[Command] = []
        self.world.dispatch.audit.subscribe(self.told.append)

    def post(self, wait: int = 0) -> Any:
        path = f"/api/v1{ON_DEVICE}/commands?wait={wait}"
        return self.world.begin("POST", path, token=self.token, body={"kind": "reset"})

    def get(self, path: str) -> Any:
        answer = self.world.settle(self.world.begin("GET", f"/api/v1{path}", token=self.token))
        assert answer is not None
        return answer.json

    def answered(self) -> Any:
        """A reset that the device has answered, and the store does not have yet; the client that waits for it."""
        client = self.post(wait=30)
        self.assertIsNone(self.world.settle(client))
        self.store.hold()
        self.world.sent[0].obeyed()
        self.assertIsNone(self.world.settle(client))
        return client

    def test_an_outcome_waits_for_its_record(self) -> None:
        program = Plain(self.world)
        client = self.answered()
        self.assertIsNone(self.get("/commands/1")["outcome"])
        self.assertIsNone(program.ask(commands.GetCommand, commandId=1)["command"].outcome)
        self.assertEqual([one.outcome for one in self.told if one.outcome], [])
        self.assertFalse(self.world.dispatch.busy(HOSTID), "the next command need not wait for it")
        while self.store.held:
            self.store.let_go(1)
        answer = self.world.settle(client)
        assert answer is not None
        self.assertEqual((answer.status, answer.json["outcome"]), (200, "done"))
        self.assertNotIn("recorded", answer.json)
        self.assertEqual([one.outcome for one in self.told if one.outcome], ["done"])

    def test_where_the_store_hangs(self) -> None:
        client = self.answered()
        self.world.clock.advance(RECORD_S)
        answer = self.world.settle(client)
        assert answer is not None
        self.assertEqual((answer.json["outcome"], answer.json["recorded"]), ("done", False))
        self.assertIs(self.get("/commands/1")["recorded"], False)

    def test_amp(self) -> None:
        program = Plain(self.world)
        answering = program.begin(commands.Reset, hostid=HOSTID, requester=None)
        self.store.hold()
        self.world.sent[0].obeyed()
        program.pump()
        self.assertNoResult(answering)
        self.world.clock.advance(RECORD_S)
        program.pump()
        answer = self.successResultOf(answering)
        self.assertEqual((answer["outcome"], answer["recorded"]), ("done", False))

    def test_cancelled(self) -> None:
        first = self.post()
        self.world.settle(first)
        self.world.settle(self.post())
        self.store.hold()
        client = self.world.begin("DELETE", "/api/v1/commands/2", token=self.token)
        again = self.world.begin("DELETE", "/api/v1/commands/2", token=self.token)
        self.assertIsNone(self.world.settle(client))
        self.assertIsNone(self.world.settle(again))
        while self.store.held:
            self.store.let_go(1)
        for one in (client, again):
            answer = self.world.settle(one)
            assert answer is not None
            self.assertEqual((answer.status, answer.json["outcome"]), (200, "not sent"))


class EventTests(Told):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[Event] = []
        self.world.fleet.told.subscribe(self.told.append)

    def emit(self) -> None:
        self.world.fleet.events.emit(Kind.SERVER_STARTED, "", version="1")

    def test_in_order_and_when_durable(self) -> None:
        before = self.world.fleet.events.last_number
        self.store.hold()
        self.emit()
        self.emit()
        self.assertEqual(self.told, [])
        self.store.let_go(1)
        self.assertEqual([one.number for one in self.told], [before + 1])
        self.emit()
        while self.store.held:
            self.store.let_go(1)
        self.assertEqual([one.number for one in self.told], [before + 1, before + 2, before + 3])
        self.assertEqual({type(one) for one in self.told}, {Event})

    def test_where_the_store_hangs_they_are_told_all_the_same(self) -> None:
        self.store.hold()
        self.emit()
        self.emit()
        self.world.clock.advance(RECORD_S)
        self.emit()
        self.assertEqual([getattr(one, "recorded", True) for one in self.told], [False] * 3)
        self.store.let_go()
        self.emit()
        self.assertEqual([getattr(one, "recorded", True) for one in self.told], [False] * 3 + [True])

    def test_where_the_store_is_unavailable(self) -> None:
        self.store.state = AWAY
        self.emit()
        self.assertEqual([getattr(one, "recorded", True) for one in self.told], [False])
        self.store.state = WELL

    def test_streams(self) -> None:
        stream = self.world.begin("GET", "/api/v1/events", token=self.token, Accept="text/event-stream")
        self.world.settle(stream)
        program = Plain(self.world)
        program.ask(commands.Watch)
        self.store.hold()
        self.emit()
        self.world.clock.pump([0.1] * 5)
        program.pump()
        self.assertNotIn(b"server_started", stream.stream())
        self.world.clock.advance(RECORD_S)
        self.world.clock.pump([0.1] * 5)
        self.assertIn(b'"kind":"server_started"', stream.stream())
        self.assertIn(b'"recorded":false', stream.stream())

    def test_a_subscriber_that_fails_keeps_nothing_from_the_others(self) -> None:
        def fail(_: Event) -> None:
            raise ValueError("a bug")

        end = self.world.fleet.told.subscribe(fail)
        later: list[Event] = []
        self.world.fleet.told.subscribe(later.append)
        self.emit()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(later), 1)
        end()
        end()
        self.emit()
        self.assertEqual(len(later), 2)

    def test_the_number_behind_which_events_are_told(self) -> None:
        self.store.hold()
        before = self.world.fleet.told.last_number
        self.emit()
        self.assertEqual(self.world.fleet.told.last_number, before)
        self.store.let_go()
        self.assertEqual(self.world.fleet.told.last_number, before + 1)


class LoginTests(Told):
    def login(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.world.fleet.registry.login(login_params(NEW), "192.0.2.9"))

    def test_a_first_one_is_answered_when_its_event_is_durable(self) -> None:
        self.store.hold()
        login = self.login()
        self.store.let_go(1)
        self.assertNoResult(login)
        self.assertIsNotNone(self.world.fleet.registry.device(NEW))
        self.store.let_go(1)
        self.assertEqual(self.successResultOf(login).hostid, NEW)
        kinds = [row.kind for rows in self.store.writes for row in rows if isinstance(row, Event) and row.hostid == NEW]
        self.assertEqual(kinds, ["device_registered"])

    def test_its_event_hangs(self) -> None:
        self.store.hold()
        login = self.login()
        self.store.let_go(1)
        self.world.clock.advance(RECORD_S)
        self.assertEqual(self.successResultOf(login).hostid, NEW)


class WhenRecordedTests(SynchronousTestCase):
    def test_an_error_is_the_change_s_own(self) -> None:
        clock = Clock()
        changing: Deferred[int] = Deferred()
        told = when_recorded(changing, Journal(ShakyStore(), clock), clock)
        changing.errback(ValueError("no"))
        self.failureResultOf(told, ValueError)
        self.assertEqual(clock.getDelayedCalls(), [])
