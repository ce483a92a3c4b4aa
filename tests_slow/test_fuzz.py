"""The fuzzer, for a few seconds each: nothing escapes from what reads the bytes of peers."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from fuzz.__main__ import fuzz


class FuzzTests(SynchronousTestCase):
    seconds = 10.0
    bound_ms: float | None = None
    most_growth: float | None = None

    def check(self, name: str) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        outcome = fuzz(name, self.seconds, folder.resolve())
        print(outcome)
        self.assertEqual(outcome.fault, "")
        self.assertGreater(outcome.report.inputs, 0)
        if self.bound_ms is not None:
            self.assertIn("branches", outcome.reached)
            self.assertLessEqual(outcome.longest_ms, self.bound_ms)
        if self.most_growth is not None:
            self.assertGreater(outcome.report.last_blocks, 0)
            self.assertLessEqual(outcome.growth, self.most_growth)

    def test_splitter(self) -> None:
        self.check("splitter")

    def test_lenient(self) -> None:
        self.check("lenient")

    def test_session(self) -> None:
        self.check("session")

    def test_control(self) -> None:
        self.check("control")

    def test_web(self) -> None:
        self.check("web")
