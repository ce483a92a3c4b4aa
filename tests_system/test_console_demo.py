"""The console of ``make demo``."""

import shutil
import signal
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests_system.browser import Visitor
from tests_system.console_case import DEVICES
from tests_system.demo_process import DemoProcess
from tests_system.programs import new_token


class DemoTests(SynchronousTestCase):
    """Somebody tries cmmd out."""

    def setUp(self) -> None:
        folder = Path(mkdtemp(prefix="cmmd-demo-"))
        self.addCleanup(shutil.rmtree, folder)
        self.demo = DemoProcess(folder)
        self.addCleanup(self.demo.kill)
        self.visitor = Visitor(self.demo.url)

    def test_a_first_look(self) -> None:
        """He makes himself a token, sees all devices, looks at one, and presses Ctrl-C: nothing of it is left."""
        token = new_token(self.demo.state, "me", "operator")
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(token).page
            visit.until(f"document.querySelectorAll('.rows .row').length === {DEVICES}", "all devices")
            page.locator(".rows a", has_text="Sim 0004").click()
            page.locator("h1", has_text="Sim 0004").wait_for()
            page.locator("tr[data-quality=good]").nth(10).wait_for()
            visit.until("document.body.dataset.link === 'live'", "the stream")
            self.assertEqual((visit.errors, visit.strangers), ([], []))
        self.assertEqual(self.demo.interrupt(), -signal.SIGINT)
        self.assertIn("cmmd has stopped", self.demo.log)
        self.assertNotIn("Traceback", self.demo.log)
        self.assertNotIn("does not end", self.demo.log)
