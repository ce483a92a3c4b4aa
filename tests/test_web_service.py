"""The link that a start prints: where no token signs in, however that has come about."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.service.sign_in_links import SignInLinks
from cmmd.web.service import WebDoor
from tests.web_world import WebWorld

HERE = "tcp:21380:interface=127.0.0.1"


class FirstLinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.world = WebWorld(self.state)
        port: Any = SimpleNamespace(getHost=lambda: SimpleNamespace(host="127.0.0.1", port=21380))
        endpoint: Any = None
        self.world.web._ports = [port]
        self.world.web._doors = [WebDoor(HERE, endpoint)]
        self.now_ms = int(self.world.clock.seconds() * 1000)

    def link(self) -> str | None:
        return self.world.web.first_link(self.state)

    def assert_signs_in(self, link: str | None) -> None:
        assert link is not None
        self.assertTrue(link.startswith("http://127.0.0.1:21380/#link="), link)
        answer = self.world.ask("POST", "/api/v1/session", body={"link": link.rpartition("=")[2]})
        self.assertEqual((answer.status, answer.json["role"]), (201, "admin"))

    def test_without_any_token(self) -> None:
        self.assert_signs_in(self.link())

    def test_a_token_signs_in(self) -> None:
        for limits in ({}, {"expires_at": self.now_ms + 1000}, {"networks": ["10.0.0.0/8"]}, {"scopes": ["console"]}):
            self.world.tokens.add("one", "viewer", **limits)
            self.assertIsNone(self.link(), limits)
            self.world.tokens.revoke("one")

    def test_all_were_revoked(self) -> None:
        self.world.tokens.add("one", "admin")
        self.world.tokens.revoke("one")
        self.assert_signs_in(self.link())

    def test_all_have_expired_or_count_elsewhere(self) -> None:
        self.world.tokens.add("former", "admin", expires_at=self.now_ms)
        self.world.tokens.add("prometheus", "viewer", scopes=["metrics"])
        self.assert_signs_in(self.link())

    def test_tokens_of_links_are_known_to_no_caller(self) -> None:
        """Their sessions end with the process: after a restart they would lock everyone out for a week."""
        self.assert_signs_in(self.link())
        self.assert_signs_in(self.link())

    def test_a_link_that_would_make_no_token_is_not_printed(self) -> None:
        (self.state / "tokens.json").write_text("half a fi")
        self.assertIsNone(self.link())
        self.assertFalse((self.state / "links.json").exists())

    def test_no_port_that_a_browser_could_open(self) -> None:
        self.world.web._ports = []
        self.assertIsNone(self.link())
        self.assertEqual(SignInLinks(self.state)._read(self.now_ms), [])

    def test_a_link_that_cannot_be_kept_ends_no_start(self) -> None:
        (self.state / "links.json").write_text("half a fi")
        with capturedLogs() as logged:
            self.assertIsNone(self.link())
        self.assertIn("no link to sign in", formatEvent(logged[0]))
