"""``cmmd.gateway.link.status``: the file and the line."""

import json
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.status import Status


class StatusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.file = Path(self.mktemp()) / "run" / "status.json"
        self.status = self.made(self.file)

    def made(self, file: Path | None) -> Status:
        return Status(
            lambda: {"at": self.clock.seconds()},
            lambda: f"{self.clock.seconds():g} s",
            file=file,
            interval=10.0,
            log_interval=3600.0,
            clock=self.clock,
            log=Logger(),
        )

    def written(self) -> Any:
        return json.loads(self.file.read_text())

    def test_file(self) -> None:
        self.status.startService()
        self.assertEqual(self.written(), {"running": True, "at": 0.0})
        self.clock.pump([5.0, 4.0])
        self.assertEqual(self.written()["at"], 0.0)
        self.clock.advance(1.0)
        self.assertEqual(self.written()["at"], 10.0)
        self.clock.advance(3.0)
        self.status.stopService()
        self.assertEqual(self.written(), {"running": False, "at": 13.0})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_line(self) -> None:
        self.status.startService()
        with capturedLogs() as captured:
            self.clock.pump([10.0] * 720)
        self.assertEqual([event["summary"] for event in captured], ["3600 s", "7200 s"])
        self.status.stopService()

    def test_folder_that_cannot_be_written(self) -> None:
        self.file.parent.parent.mkdir()
        self.file.parent.write_text("a file is in its place")
        with capturedLogs() as captured:
            self.status.startService()
            self.clock.pump([10.0] * 5)
        self.assertEqual([event["log_format"] for event in captured], ["{file} cannot be written: {error}"])
        self.file.parent.unlink()
        self.clock.advance(10.0)
        self.assertEqual(self.written()["at"], 60.0)
        self.status.stopService()

    def test_no_file(self) -> None:
        status = self.made(None)
        status.startService()
        status.stopService()
        self.assertFalse(self.file.parent.exists())
