"""A page of another origin in a browser that is signed in: it reads nothing and changes nothing."""

import json
from typing import Any

from playwright.sync_api import Page, Response

from tests.daemon import until
from tests.plain_device import login, message
from tests_system.console_case import ConsoleTestCase
from tests_system.foreign_page import AGAINST_DEVICES, AGAINST_WEB, ForeignPages

REACHED = 14
"""Requests of a page that come to the port of devices at least; how many more depends on what Chromium tries again."""


def answers_to(page: Page) -> list[tuple[str, str, int]]:
    """Method, address and status of all that a page is answered from now on."""
    answers: list[tuple[str, str, int]] = []

    def note(one: Response) -> None:
        answers.append((one.request.method, one.url, one.status))

    page.on("response", note)
    return answers


class ForeignPageTests(ConsoleTestCase):
    stage = "foreign"
    devices = 1
    options = ("--calm",)

    def setUp(self) -> None:
        super().setUp()
        self.hostid = self.host(0)
        self.pages = ForeignPages()
        self.addCleanup(self.pages.close)

    def foreign(self) -> int:
        """Connections to the port of devices that were recognized as a browser's."""
        return int(self.world.ask("GET", "/status")["peer_errors"].get("foreign_protocol", 0))

    def state(self) -> dict[str, Any]:
        """All that a page could have changed."""
        status = self.world.ask("GET", "/status")
        device = self.world.ask("GET", f"/devices/{self.hostid}")
        live = self.world.ask("GET", f"/devices/{self.hostid}/live")
        return {
            "devices": status["devices"],
            "sessions": status["sessions"],
            "logins": status["logins"],
            "policy": self.world.ask("GET", "/enrolment"),
            "settings": device["settings"],
            "login": device["row"]["last_login_at"],
            "doubt": device["row"]["in_doubt"],
            "inputs": {name: report["active"] for name, report in live["input_reports"].items()},
            "commands": self.world.ask("GET", "/commands?limit=100")["commands"],
            "alarms": self.world.ask("GET", "/alarms?open=false")["alarms"],
        }

    def test_the_port_of_devices(self) -> None:
        for origin in self.pages.origins:
            for body in (
                login("BROWSER1"),
                login(self.hostid),
                message("LongCon", self.hostid),
                message("reqdatachange", self.hostid, params={}, InhbitRemote=1, FireAlarm=1),
            ):
                with self.visitor.visit() as visit:
                    before, state = self.foreign(), self.state()
                    visit.page.goto(origin)
                    arguments = {"port": self.world.daemon.port, "body": body.decode()}
                    read = visit.page.evaluate(AGAINST_DEVICES, arguments)
                    until(lambda before=before: self.foreign() >= before + REACHED, "all of it came")  # type: ignore[misc]
                    self.assertEqual(read, [], origin)
                    self.assertEqual(self.state(), state, f"{origin}: {body!r}")
        self.assertNotIn("Traceback", self.world.daemon.log)

    def test_the_port_of_people(self) -> None:
        for origin in self.pages.origins:
            with self.visitor.visit() as visit:
                page = visit.open().sign_in(self.world.tokens["admin"]).page
                visit.until("document.body.dataset.link === 'live'", "the stream")
                state = self.state()
                foreign = page.context.new_page()
                answers = answers_to(foreign)
                foreign.goto(origin)
                arguments = {"port": int(self.world.url.rpartition(":")[2]), "hostid": self.hostid}
                read = foreign.evaluate(AGAINST_WEB, arguments)
                while not any(url.endswith("/disable") for _, url, _ in answers):  # the form that was sent last
                    foreign.wait_for_timeout(50)
                self.assertEqual(read, [], origin)
                api = [one for one in answers if "/api/v1/" in one[1] and one[0] != "OPTIONS"]
                self.assertGreater(len(api), 5, answers)  # of what CORS hides, Chromium tells Playwright nothing either
                self.assertEqual([one for one in api if one[2] != 403], [])
                self.assertEqual(self.state(), state, origin)
                foreign.close()
                page.reload()  # and the session of the reader is still there
                page.wait_for_selector(".rows .row")
        self.assertNotIn("Traceback", self.world.daemon.log)

    def test_the_same_requests_of_the_console_are_obeyed(self) -> None:
        """Otherwise the other test would show nothing."""
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["admin"]).page
            page.wait_for_selector(".rows .row")
            script = """async ([hostid, body]) => {
                const csrf = (await (await fetch("/api/v1/session")).json()).csrf;
                const headers = {"Content-Type": "application/json", "X-CSRF-Token": csrf};
                const options = {method: "POST", headers, body};
                return (await fetch(`/api/v1/devices/${hostid}/commands`, options)).status; }"""
            status = page.evaluate(script, [self.hostid, json.dumps({"kind": "named", "name": "auto"})])
            self.assertEqual(status, 202)
