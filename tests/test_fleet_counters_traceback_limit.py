"""A process logs so many tracebacks and no more, and counts all of them."""

from io import StringIO
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogPublisher, textFileLogObserver
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.counters.error_counter import is_bug, limit_tracebacks


def failure_of(text: str) -> Failure:
    """A failure with a traceback, always from one place."""
    try:
        raise ValueError(text)
    except ValueError:
        return Failure()


class LimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.file = StringIO()
        self.publisher = LogPublisher(textFileLogObserver(self.file))
        self.log = Logger(observer=self.publisher)
        self.undo = limit_tracebacks(self.publisher, self.clock)
        self.counted: list[object] = []

        def count(event: LogEvent) -> None:
            if is_bug(event):
                self.counted.append(event)

        self.publisher.addObserver(cast("Any", count))

    def test_one_place_repeated(self) -> None:
        for _ in range(3000):
            self.log.failure("again", failure_of("x"))
        self.assertEqual(self.file.getvalue().count("Traceback"), 5)
        self.assertEqual(len(self.counted), 3000)
        self.clock.advance(10.0)
        self.log.failure("again", failure_of("x"))
        self.assertIn("2995 more tracebacks were counted and not logged", self.file.getvalue())

    def test_of_many_kinds(self) -> None:
        """Growth is bounded whatever is raised: 20 at once, then one every two seconds."""
        for second in range(100):
            self.clock.advance(1.0)
            for number in range(50):
                kind = type(f"Kind{second}x{number}", (ValueError,), {})
                self.log.failure("new", Failure(kind("x")))
        self.assertLess(self.file.getvalue().count(": x"), 20 + 50 + 2)
        self.assertEqual(len(self.counted), 5000)

    def test_the_old_way(self) -> None:
        publisher = legacy.LogPublisher(publishPublisher=self.publisher)
        for _ in range(100):
            publisher.msg(isError=1, failure=failure_of("y"), why="old")
        self.assertEqual(self.file.getvalue().count("Traceback"), 5)
        self.assertEqual(len(self.counted), 100)

    def test_other_lines_pass(self) -> None:
        for number in range(100):
            self.log.error("line {number}", number=number)
        self.assertEqual(self.file.getvalue().count("line"), 100)

    def test_undo(self) -> None:
        self.undo()
        for _ in range(30):
            self.log.failure("again", failure_of("x"))
        self.assertEqual(self.file.getvalue().count("Traceback"), 30)


class DaemonsTests(SynchronousTestCase):
    """Several daemons of one process limit the same log, and end in any order."""

    def test_the_log_is_as_before(self) -> None:
        for order in ((0, 1), (1, 0)):
            publisher, clock = LogPublisher(), Clock()
            seen: list[object] = []
            publisher.addObserver(cast("Any", seen.append))
            before = list(publisher._observers)
            ends = [limit_tracebacks(publisher, clock) for _ in range(2)]
            for place in order:
                ends[place]()
            self.assertEqual(publisher._observers, before)
