"""The console where the daemon's store hangs: what is not recorded is not shown as done."""

import json
from typing import Any

from playwright.sync_api import Page

from tests_system.browser import Visit
from tests_system.console_case import answering
from tests_system.test_console_enrolment import NEW, EnrolmentTestCase

NO_RESULT = answering(status=202, content_type="application/json", body='{"recorded":false}')
UNKNOWN = "not known whether this was done"


def _unrecorded(route: Any) -> None:
    """Have it done, and answer that it is not recorded."""
    answer = route.fetch()
    route.fulfill(response=answer, body=json.dumps({**answer.json(), "recorded": False}))


def _without_inputs(route: Any) -> None:
    """A live record that a part of the page cannot show."""
    answer = route.fetch()
    route.fulfill(response=answer, body=json.dumps({**answer.json(), "input_reports": None}))


class UnrecordedTests(EnrolmentTestCase):
    def device_page(self, visit: Visit) -> Page:
        page = self.console(visit, "admin", f"#/devices/{self.host(0)}")
        page.locator("tr[data-quality=good]").nth(10).wait_for()
        return page

    def lock(self, page: Page) -> None:
        page.click("button.lock")
        page.fill("#lock-reason", "oil change")
        self.agree(page)

    def assertGoesOld(self, page: Page) -> None:
        """Once the daemon tells no values any more, none is shown as good."""
        page.route("**/api/v1/devices/*/live*", answering(status=502, body="no"))
        page.locator("tr[data-quality=stale]").nth(10).wait_for()
        self.assertEqual(page.locator("tr[data-quality=good]").count(), 0)
        page.unroute("**/api/v1/devices/*/live*")

    def test_a_lock_without_a_result(self) -> None:
        hostid = self.host(0)
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            page.route("**/api/v1/devices/*/lock", NO_RESULT)
            with page.expect_response(lambda one: one.url.endswith(f"/api/v1/devices/{hostid}")):
                self.lock(page)
            page.locator(".beside [role=alert]", has_text=UNKNOWN).wait_for()
            self.assertEqual(page.locator(".notice.lock").count(), 0)
            self.assertUsable(visit, "a lock of which nothing is known")
            self.assertClean(visit)
            self.assertGoesOld(page)

    def test_settings_and_repairs_without_a_result(self) -> None:
        hostid = self.host(0)
        with self.visitor.visit() as visit:
            page = self.console(visit, "admin", f"#/devices/{hostid}/settings")
            page.fill("#set-history_interval", "7")
            page.route("**/api/v1/devices/*/settings", NO_RESULT)
            with page.expect_response(lambda one: one.url.endswith(f"/api/v1/devices/{hostid}")):
                page.click("#panel-settings button[type=submit]")
            page.locator("#panel-settings form [role=status]", has_text=UNKNOWN).wait_for()
            page.route("**/api/v1/devices/*/reset-password", NO_RESULT)
            page.click("[data-act=reset-password]")
            self.agree(page)
            page.locator(".repair [role=status]", has_text=UNKNOWN).wait_for()
            page.route(
                f"**/api/v1/devices/{hostid}",
                lambda route: NO_RESULT(route) if route.request.method == "DELETE" else route.fallback(),
            )
            with page.expect_response(lambda one: one.status == 202):
                page.click("[data-act=forget]")
                self.agree(page)
            page.locator(".repair [role=status]", has_text=UNKNOWN).wait_for()
            self.assertIn(hostid, page.url)
            self.assertClean(visit)
            page.unroute_all(behavior="wait")

    def test_an_approval_without_a_result(self) -> None:
        self.policy("approve")
        self.come()
        with self.visitor.visit() as visit:
            page = self.console(visit, "admin")
            page.route("**/api/v1/enrolment/*/approve", NO_RESULT)
            page.click(f".candidate[data-hostid='{NEW}'] .primary")
            row = page.locator(f".candidate[data-hostid='{NEW}']")
            row.locator("[role=status]", has_text=UNKNOWN).wait_for()
            self.assertEqual(row.locator("a").count(), 0, "approved")
            self.assertUsable(visit, "an approval of which nothing is known")
            self.world.ask("POST", f"/enrolment/{NEW}/approve")
            row.locator("[role=status]", has_text="No longer waiting").wait_for()
            self.assertIn(UNKNOWN, row.inner_text())
            self.assertClean(visit)

    def test_a_lock_that_is_not_recorded(self) -> None:
        self.addCleanup(self.world.ask, "DELETE", f"/devices/{self.host(0)}/lock")
        for locale, said in (("en-US", "not recorded yet"), ("zh-CN", "尚未记录")):
            with self.visitor.visit(locale=locale) as visit:
                page = self.device_page(visit)
                page.route("**/api/v1/devices/*/lock", _unrecorded)
                self.lock(page)
                page.locator(".notice.lock").wait_for()
                page.locator(".beside [role=alert]", has_text=said).wait_for()
                self.assertUsable(visit, "a lock that is not recorded")
                self.assertClean(visit)
                page.unroute_all(behavior="wait")
            self.world.ask("DELETE", f"/devices/{self.host(0)}/lock")

    def test_a_command_that_is_not_recorded(self) -> None:
        command = {"accepted_at": 1, "sent_at": 2, "ended_at": 3, "outcome": "done", "confirmed": None, "reply": ""}
        steps = "(module, command) => module.steps(command, Date.now(), false).textContent"
        self.assertNotIn("Not recorded yet", self.run_module("device/outcome.js", steps, command))
        self.assertIn("Not recorded yet", self.run_module("device/outcome.js", steps, {**command, "recorded": False}))

    def test_a_part_that_cannot_be_shown(self) -> None:
        """The other parts still tell how the genset is, and go old."""
        lives = "**/api/v1/devices/*/live*"
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            page.route(lives, _without_inputs)
            with page.expect_response(lives):
                pass
            visit.until("document.querySelector('main').hasAttribute('data-old')", "it is said")
            page.unroute_all(behavior="wait")
            page.route(lives, _without_inputs)
            with page.expect_response(lives):
                pass
            page.unroute_all(behavior="wait")
            self.assertGoesOld(page)
