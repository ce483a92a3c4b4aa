"""As much bad input as goes through the wire, and more connections than there is room for, beside 100 devices."""

import fcntl
import json
import os
import resource
import shutil
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests import abuse
from tests import test_abuse as short
from tests.abuse_of_doors import DOOR_ABUSES
from tests.daemon import Daemon, until
from tests.plain_device import PlainDevice, message, register

log = Logger()

MOST_A_CONNECTION_KIB = 10
HALF_OPEN_TIMEOUT_S = 20.0
LEAST_AT_ONCE = 1_000  # of 10,000: how many come before the first ones are closed, a busy machine decides


@cache
def abused() -> short.Abused:
    """The same for all tests."""
    return short.Abused(abuse.CONFIGURATION)


@cache
def half_opened() -> short.Abused:
    """For half-open connections: so patient that they all stand at once, however slowly they come."""
    timeouts = {"login_timeout": HALF_OPEN_TIMEOUT_S, "idle_timeout": HALF_OPEN_TIMEOUT_S}
    return short.Abused({"server": {**abuse.CONFIGURATION["server"], **timeouts}})


class FloodTestCase(short.AbuseTestCase):
    """One flood at a time, however many workers there are: two would take the devices' time from one another."""

    def setUp(self) -> None:
        alone = os.open(__file__, os.O_RDONLY)
        self.addCleanup(os.close, alone)
        fcntl.flock(alone, fcntl.LOCK_EX)
        super().setUp()


class HeavyTests(FloodTestCase):
    """As much of it as goes through the wire."""

    context = staticmethod(abused)

    def test_endless_string(self) -> None:
        abuse.endless_string(self.port)
        abuse.endless_strings(self.port)

    def test_endless_garbage(self) -> None:
        abuse.endless_garbage(self.port)

    def test_endless_blanks(self) -> None:
        abuse.endless_blanks(self.port)

    def test_brackets(self) -> None:
        abuse.endless_nesting(self.port)
        abuse.endless_brackets(self.port)

    def test_laborious_documents(self) -> None:
        abuse.laborious_documents(self.port)
        abuse.laborious_json(self.port)

    def test_empty_objects(self) -> None:
        abuse.empty_objects(self.port)

    def test_heartbeats_at_full_speed(self) -> None:
        abuse.heartbeats_at_full_speed(self.port)

    def test_unread_answers(self) -> None:
        abuse.unread_answers(self.port)

    def test_slow_loris(self) -> None:
        abuse.slow_loris(self.port)

    def test_connections_broken_off(self) -> None:
        abuse.connections_broken_off(self.port)

    def test_strangers(self) -> None:
        abuse.strangers(self.port)

    def test_who_knows_a_hostid(self) -> None:
        for one in DOOR_ABUSES:
            one(self.port)

    def test_new_devices(self) -> None:
        abuse.new_devices(self.port)

    def test_wrong_passwords(self) -> None:
        abuse.wrong_passwords(self.port)


class HalfOpenTests(FloodTestCase):
    """Thousands of connections that nothing comes from."""

    context = staticmethod(half_opened)
    most_growth_kib = abuse.HALF_OPEN * MOST_A_CONNECTION_KIB

    def test_half_open_connections(self) -> None:
        standing = abuse.half_open_connections(self.port, HALF_OPEN_TIMEOUT_S)
        log.info("{standing} half-open connections at once", standing=standing)
        self.assertGreaterEqual(standing, LEAST_AT_ONCE)

    def test_closed_at_once(self) -> None:
        abuse.connections_closed_at_once(self.port)


class TooManyTests(SynchronousTestCase):
    """More connections than may stand, or than there are files for."""

    most = 50

    def daemon(self, **server: object) -> Daemon:
        folder = Path(mkdtemp(prefix="cmmd-abuse-"))
        self.addCleanup(shutil.rmtree, folder)
        daemon = Daemon(folder, {"server": server})
        self.addCleanup(daemon.kill)
        return daemon.start()

    def test_too_many_connections(self) -> None:
        daemon = self.daemon(max_connections=self.most)
        with ExitStack() as stack:
            devices = [stack.enter_context(abuse.attach(daemon.port, f"FIRST{number}")) for number in range(40)]
            silent = [stack.enter_context(PlainDevice(daemon.port)) for _ in range(self.most - len(devices))]
            for _ in range(200):
                with PlainDevice(daemon.port) as one_more:
                    self.assertEqual(abuse.until_end(one_more.socket, abuse.PATIENCE_S), b"")
            for number, device in enumerate(devices):
                self.assertEqual(device.ask(message("HB", f"FIRST{number}"))["retcode"], "000000")
            silent[0].socket.close()
            until(lambda: self.is_served(daemon.port), "a place that has become free")
        self.assertNotIn("Traceback", daemon.log)

    def test_too_many_files(self) -> None:
        daemon = self.daemon()
        with ExitStack() as stack:
            devices = [stack.enter_context(abuse.attach(daemon.port, f"FIRST{number}")) for number in range(10)]
            _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (self.most, hard))
            for _ in range(100):
                stack.enter_context(PlainDevice(daemon.port))
            for number, device in enumerate(devices):
                self.assertEqual(device.ask(message("HB", f"FIRST{number}"))["retcode"], "000000")
        until(lambda: self.is_served(daemon.port), "files that have become free")
        self.assertNotIn("Traceback", daemon.log)

    @staticmethod
    def is_served(port: int) -> bool:
        try:
            return bool(register(port, "LATER")["retcode"] == "000000")
        except (OSError, json.JSONDecodeError):
            return False
