"""Our bugs are counted, whichever way somebody met them."""

import json
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel
from twisted.python import log as legacy
from twisted.python.failure import Failure

from cmmd.control import commands
from cmmd.fleet.commands.queue import Requester
from cmmd.fleet.commands.requests import Reset
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.counters.error_counter import count_bugs
from cmmd.fleet.events import Kind
from cmmd.web.console import File
from tests.control_world import Plain
from tests.web_world import WebTestCase
from tests.world import HOSTID

log = Logger()


def bug(*_: object, **__: object) -> Any:
    return 1 // 0


class BugTests(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(count_bugs(self.world.world.counters))

    def assert_counted(self, count: int = 1) -> None:
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), count)
        self.assertEqual(self.world.world.counters.bugs, count)

    def test_over_http(self) -> None:
        self.patch(self.world.operations, "device", bug)
        self.assertEqual(self.get(f"/devices/{HOSTID}").code, "internal_error")
        self.assertEqual(self.get("/status").json["bugs"], 1)
        self.assert_counted()

    def test_in_the_console(self) -> None:
        self.patch(File, "body", bug)
        self.world.begin("GET", "/")
        self.assert_counted()

    def test_in_a_resource(self) -> None:
        self.patch(self.world.fleet, "store_health", bug)
        self.assertEqual(self.world.ask("GET", "/healthz").status, 500)
        self.assert_counted()

    def test_in_rows_for_the_console(self) -> None:
        self.world.begin("GET", "/api/v1/events?live=true", token=self.tokens["viewer"], Accept="text/event-stream")
        self.patch(self.world.fleet.registry, "device", bug)
        self.world.web.feed.touch(HOSTID)
        self.clock.pump([1.0, 0.0])
        self.assert_counted()

    def test_over_amp(self) -> None:
        plain = Plain(self.world)
        self.patch(self.world.operations, "device", bug)
        answer = plain.begin(commands.GetDevice, hostid=HOSTID)
        self.failureResultOf(answer)
        self.assertEqual(plain.ask(commands.Status)["status"].bugs, 1)
        self.assert_counted()

    def test_on_the_way_of_a_command(self) -> None:
        self.patch(self.world.session, "round_trip", bug)
        asked = Deferred.fromCoroutine(self.world.dispatch.submit(HOSTID, Reset(), Requester("me", "amp")))
        self.world.world.write_batch()
        self.assertEqual(self.successResultOf(self.successResultOf(asked).ended).outcome, "lost")
        self.assert_counted()

    def test_of_who_is_told(self) -> None:
        self.world.fleet.events.subscribe(bug)
        self.world.dispatch.audit.subscribe(bug)
        self.world.fleet.events.emit(Kind.SERVER_STOPPED, "")
        self.assert_counted()

    def test_in_the_journal(self) -> None:
        self.patch(self.world.world.store, "write", bug)
        self.world.fleet.events.emit(Kind.SERVER_STOPPED, "")
        self.world.world.write_batch()
        self.assertGreater(self.world.world.counters.bugs, 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), self.world.world.counters.bugs)

    def test_of_a_device(self) -> None:
        device = self.world.world.connect()
        self.patch(self.world.fleet.registry, "device", bug)
        device.deliver(json.dumps({"method": "HB", "hostid": HOSTID, "params": ""}).encode())
        self.assert_counted()

    def test_logged_by_twisted_in_its_old_way(self) -> None:
        legacy.err(Failure(ZeroDivisionError()), "while reading")
        legacy.err("no exception, but an error")
        self.assertEqual(self.world.world.counters.bugs, 2)
        self.flushLoggedErrors()

    def test_what_is_none(self) -> None:
        """What peers and the store do to us has no traceback, and what Twisted tells in passing is no bug."""
        log.error("something is wrong")
        log.critical("very")
        log.failure("in passing", Failure(ValueError()), level=LogLevel.info)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.get("/devices/nobody").status, 404)
        self.assertEqual(self.world.world.counters.bugs, 0)

    def test_no_more(self) -> None:
        counters = Counters()
        count_bugs(counters)()
        log.failure("a bug", cast("Any", Failure(ZeroDivisionError())))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(counters.bugs, 0)
