"""What peers say, made harmless, and not more of it than a log can bear."""

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from cmmd.fleet.counters.log_throttle import BURST, REFILL_S
from cmmd.server.peer_log import PeerLog


class PeerLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.peer_log = PeerLog(self.clock)
        self.lines: list[str] = []

        @provider(ILogObserver)
        def observer(event: LogEvent) -> None:
            if event.get("log_namespace") == "cmmd.server.peer_log":
                self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def test_a_line(self) -> None:
        self.peer_log.fault("192.0.2.1", "not a JSON object", b"GET {}\n")
        self.peer_log.fault("192.0.2.1", "no text")
        self.assertEqual(self.lines, [r"192.0.2.1: not a JSON object: 'GET {}\n'", "192.0.2.1: no text"])

    def test_a_burst_and_then_one_at_a_time(self) -> None:
        for _ in range(BURST + 7):
            self.peer_log.fault("192.0.2.1", "again")
        self.assertEqual(len(self.lines), BURST)
        self.peer_log.fault("192.0.2.2", "another")
        self.assertEqual(len(self.lines), BURST + 1)
        self.clock.advance(REFILL_S)
        self.peer_log.fault("192.0.2.1", "again")
        self.assertEqual(self.lines[-1], "192.0.2.1: again (7 more not logged)")
        self.clock.advance(REFILL_S)
        self.peer_log.fault("192.0.2.1", "again")
        self.assertEqual(self.lines[-1], "192.0.2.1: again")
