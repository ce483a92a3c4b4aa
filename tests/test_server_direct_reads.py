"""Reading accepted connections directly: Twisted's own contract tests of a reactor, and the way back to Twisted's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.test import (
    test_core,
    test_fdset,
    test_socket,
    test_tcp,
    test_threads,
    test_time,
    test_tls,
    test_unix,
)
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from cmmd.server import direct_reads
from cmmd.server.direct_reads import read_directly
from tests.support import REPOSITORY

CONTRACTS = (test_core, test_fdset, test_socket, test_tcp, test_threads, test_time, test_tls, test_unix)
"""Modules of Twisted's tests that say what any reactor does."""


def direct_reactor() -> EPollReactor:
    reactor = EPollReactor()
    assert read_directly(reactor), "Twisted has changed: the contract tests would test Twisted's own way"
    return reactor


def contracts() -> Iterator[type[ReactorBuilder]]:
    """The builders in those modules of which Twisted itself makes test cases, one for each reactor."""
    for module in CONTRACTS:
        for name in vars(module):
            builder_name, _, reactor_name = name.rpartition("_")
            if reactor_name == "EPollReactorTests":
                yield getattr(module, builder_name)


class NoLogContext:
    """The one difference, which is the point: within a TCP read the old log does not know from which connection."""

    def test_logPrefix(self) -> None:
        with self.assertRaisesRegex(AssertionError, "'Custom Server' not in '-'"):  # type: ignore[attr-defined]
            super().test_logPrefix()  # type: ignore[misc]


class NoLostDescriptors:
    """What Twisted says of its own epoll reactor, too."""

    def test_lostFileDescriptor(self) -> None:
        with self.assertRaisesRegex(SkipTest, "cannot detect lost file descriptors"):  # type: ignore[attr-defined]
            super().test_lostFileDescriptor()  # type: ignore[misc]


for builder in contracts():
    name = f"{builder.__name__}OnDirectReads"
    bases: tuple[type, ...] = (builder, SynchronousTestCase)
    for difference in (NoLogContext, NoLostDescriptors):
        is_unix = builder.__module__ == test_unix.__name__  # read as Twisted does it
        if any(hasattr(builder, test) and not is_unix for test in vars(difference) if test.startswith("test_")):
            bases = (difference, *bases)
    globals()[name] = type(name, bases, {"__module__": __name__, "reactorFactory": staticmethod(direct_reactor)})
del builder, name, bases, difference, is_unix


class Failing(Protocol):
    """Raises when something comes, and again when its connection ends."""

    lost: ClassVar[list[str]] = []

    def dataReceived(self, data: bytes) -> None:
        raise ZeroDivisionError

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.append(reason.type.__name__)
        raise LookupError


class DirectReadTests(ReactorBuilder, SynchronousTestCase):
    reactorFactory = staticmethod(direct_reactor)

    def test_exceptions_end_their_connection_and_no_other(self) -> None:
        reactor = self.buildReactor()
        Failing.lost.clear()
        answered: list[bytes] = []

        class Client(Protocol):
            def connectionMade(self) -> None:
                self.transport.write(b"x")  # type: ignore[union-attr]

            def dataReceived(self, data: bytes) -> None:
                answered.append(data)

            def connectionLost(self, reason: Any = None) -> None:
                reactor.stop()

        port = reactor.listenTCP(0, Factory.forProtocol(Failing), interface="127.0.0.1")

        class Clients(Factory):
            protocol = Client

            def startedConnecting(self, connector: object) -> None: ...
            def clientConnectionLost(self, connector: object, reason: object) -> None: ...
            def clientConnectionFailed(self, connector: object, reason: object) -> None:
                reactor.stop()

        reactor.connectTCP("127.0.0.1", port.getHost().port, Clients())
        self.runReactor(reactor)
        self.assertEqual(Failing.lost, ["ZeroDivisionError"])
        self.assertEqual(answered, [])
        self.assertEqual([type(one.value) for one in self.flushLoggedErrors()], [ZeroDivisionError, LookupError])


class FallbackTests(SynchronousTestCase):
    def said(self, reactor: object) -> str:
        said: list[str] = []
        self.patch(direct_reads.log, "info", lambda text, **fields: said.append(text.format(**fields)))
        self.assertFalse(read_directly(reactor))
        return "".join(said)

    def test_another_reactor(self) -> None:
        reactor = SelectReactor()
        self.addCleanup(reactor.disconnectAll)
        self.assertIn("SelectReactor is not the epoll reactor that cmmd knows", self.said(reactor))

    def test_a_private_that_is_missing(self) -> None:
        class Renamed(EPollReactor):
            @property
            def _disconnectSelectable(self) -> None:  # type: ignore[override]
                raise AttributeError

        self.assertIn("(without _disconnectSelectable)", self.said(Renamed()))

    def test_one_that_polls_in_its_own_way(self) -> None:
        class Own(EPollReactor):
            def doPoll(self, timeout: float | None) -> None: ...

        reactor = Own()
        self.said(reactor)
        self.assertEqual(vars(reactor).keys() & {"doPoll", "doIteration"}, set())


class ServerTests(SynchronousTestCase):
    """The tests of connections on real sockets, run once more where the reactor reads directly."""

    modules: ClassVar[tuple[str, ...]] = ("tests.test_server_receiver", "tests.test_server_listeners")
    missing: ClassVar[tuple[str, ...]] = ("",)
    """Privates of Twisted to pretend missing, one run each. This process itself has Twisted's own way of reading."""

    def test_they_pass(self) -> None:
        for fallback in self.missing:
            ran = subprocess.run(
                [sys.executable, "-c", RUN, fallback, str(Path(self.mktemp()).absolute()), *self.modules],
                cwd=REPOSITORY,
                env=os.environ,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
            self.assertIn(f"direct: {not fallback}", ran.stdout)


RUN = """
import sys
from cmmd.server import direct_reads
missing, folder, *tests = sys.argv[1:]
if missing:
    direct_reads.PRIVATES += (missing + "_of_another_release",)
from twisted.internet import reactor
print("direct:", direct_reads.read_directly(reactor))
from twisted.scripts.trial import run
sys.argv = ["trial", "--temp-directory", folder, *tests]
run()
"""
