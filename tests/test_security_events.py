"""Security events: who came in, who did not, who changed what, with the address, for administrators."""

import json
from pathlib import Path
from typing import Any

from cmmd.fleet.events import Kind
from cmmd.fleet.service.security import SECURITY, SecurityLog
from tests.web_world import WebTestCase
from tests.world import HOSTID


class SecurityTests(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.get("/status")  # what is in the file of tokens is known by now
        self.world.world.write_batch()

    def security(self, **query: Any) -> list[dict[str, Any]]:
        self.world.world.write_batch()
        text = "&".join(f"{name}={value}" for name, value in query.items())
        answer = self.ask("GET", f"/security?{text}")
        self.assertEqual(answer.status, 200, answer.body)
        return [one["details"] for one in answer.json["events"]]

    def newest(self) -> tuple[str, str, str, str]:
        details = self.security(limit=1)[0]
        return details["what"], details["who"], details["address"], details["device"]

    def test_signing_in_and_out(self) -> None:
        made = self.world.ask("POST", "/api/v1/session", body={"token": self.tokens["operator"]}, peer="192.0.2.9")
        self.assertEqual(self.newest(), ("signed_in", "token operator", "192.0.2.9", ""))
        cookie = made.headers["set-cookie"].partition(";")[0]
        csrf = made.json["csrf"]
        self.world.ask("DELETE", "/api/v1/session", peer="192.0.2.9", Cookie=cookie, X_CSRF_Token=csrf)
        self.assertEqual(self.newest(), ("signed_out", "token operator", "192.0.2.9", ""))

    def test_failures(self) -> None:
        self.world.begin("GET", "/api/v1/status", token="cmmd_wrong", peer="198.51.100.3")
        self.assertEqual(self.newest(), ("wrong_token", "", "198.51.100.3", ""))
        self.ask("POST", f"/devices/{HOSTID}/disable", role="operator")
        (details,) = self.security(limit=1)
        self.assertEqual((details["what"], details["address"]), ("forbidden", "192.0.2.7"))
        self.assertIn("operator is operator", details["detail"])

    def test_changes(self) -> None:
        self.ask("PATCH", f"/devices/{HOSTID}/settings", {"enabled": True})
        whats = {(one["what"], one["who"], one["address"], one["device"]) for one in self.security()}
        self.assertIn(("change_settings", "token admin", "192.0.2.7", HOSTID), whats)

    def test_tokens(self) -> None:
        self.world.tokens.add("yard", "operator")
        self.get("/status")
        self.assertEqual(self.security(limit=1)[0]["detail"], "yard, operator")
        self.world.tokens.revoke("yard")
        self.get("/status")
        self.assertEqual(self.newest(), ("token_revoked", "cmmctl", "", ""))

    def test_of_devices(self) -> None:
        self.world.fleet.events.emit(Kind.SESSION_TAKEN_OVER, HOSTID, address="203.0.113.1", login_address="192.0.2.1")
        self.assertEqual(self.newest(), ("session_taken_over", "", "203.0.113.1", HOSTID))

    def test_others_do_not_see_them(self) -> None:
        stream = self.world.begin("GET", "/api/v1/events", token=self.tokens["admin"], Accept="text/event-stream")
        self.world.operations.security.record("signed_in", who="token x", address="192.0.2.1")
        self.clock.advance(1.0)
        self.world.world.write_batch()
        for role in ("viewer", "operator", "engineer"):
            self.assertEqual(self.get("/security", role).code, "forbidden")
        for path in ("/events", f"/events?hostid={SECURITY}"):
            answer = self.get(path, "admin")
            self.assertNotIn(b"signed_in", answer.body)
        self.assertNotIn(b"signed_in", stream.received)
        self.assertEqual(self.ask("GET", "/security?hostid=a").code, "bad_argument")

    def test_a_flood_fills_no_store(self) -> None:
        for _ in range(1000):
            self.world.operations.security.record("wrong_token", address="198.51.100.3")
        self.assertEqual(len(self.security(limit=1000)), 20)
        self.clock.advance(10.0)
        self.world.operations.security.record("wrong_token", address="198.51.100.3")
        self.assertEqual(self.security(limit=1)[0]["suppressed"], 980)

    def test_as_json_lines(self) -> None:
        file = Path(self.mktemp())
        log = SecurityLog(self.world.fleet.events, file=file)
        self.addCleanup(log.stop)
        log.record("signed_in", who="token x\n\x1b[1m", address="192.0.2.1")
        (line,) = file.read_text().splitlines()
        said = json.loads(line)
        self.assertEqual((said["what"], said["address"]), ("signed_in", "192.0.2.1"))
        self.assertNotIn("\x1b", said["who"])
