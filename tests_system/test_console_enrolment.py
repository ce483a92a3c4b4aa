"""The console where devices come and go: who can register, the queue, and repairs of a module ID."""

import json
from typing import Any

from playwright.sync_api import Page

from cmmd.fleet.roles import Role
from tests.plain_device import PlainDevice, login, message
from tests_system.browser import Visit
from tests_system.console_case import ConsoleTestCase

NEW = "NEW-3439333633"
YARD = "127.0.0.9"
ELSEWHERE = "127.0.0.77"

SWAP = """() => {
    const real = window.fetch;
    window.fetch = async (url, options) => {
        const swapped = window.swapped;
        const answer = await real(url, options);
        if (swapped || !String(url).endsWith("/enrolment") || !answer.ok) return answer;
        const body = await answer.json();
        for (const one of body.waiting) one.address = "192.0.2.9";
        return new Response(JSON.stringify(body), {headers: {"Content-Type": "application/json"}});
    };
}"""
"""What the page is answered about the queue is of another device than what it is answered once ``swapped`` is set."""


class EnrolmentTestCase(ConsoleTestCase):
    stage = "enrolment"
    devices = 1
    options = ("--calm",)

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.nothing_left)

    def nothing_left(self) -> None:
        """Leave registration open and no device waiting, as the next test wants it."""
        for one in self.enrolment()["waiting"]:
            self.world.ask("DELETE", f"/enrolment/{one['hostid']}")
        self.policy("open")
        for one in self.world.devices():
            if one["hostid"].startswith("NEW-"):
                self.world.ask("DELETE", f"/devices/{one['hostid']}")

    def enrolment(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.ask("GET", "/enrolment")
        return found

    def policy(self, policy: str) -> None:
        self.world.ask("PUT", "/enrolment", {"policy": policy})

    def come(self, hostid: str = NEW, password: str = "123456", address: str = YARD) -> str:
        """Have a device log in; gives the retcode."""
        with PlainDevice(self.world.daemon.port, address) as device:
            retcode: str = device.ask(login(hostid, password, hostname="Yard 9"))["retcode"]
            return retcode

    def console(self, visit: Visit, role: Role, place: str = "#/enrolment") -> Page:
        page = visit.open().sign_in(self.world.tokens[role]).open(place).page
        visit.until("document.body.dataset.link === 'live'", "the stream")
        return page

    def agree(self, page: Page) -> None:
        page.wait_for_selector("dialog .primary:not([disabled])")
        page.click("dialog .primary")


class PolicyTests(EnrolmentTestCase):
    def test_open_is_urged_to_be_closed(self) -> None:
        for width, locale in (("desk", "en-US"), ("phone", "zh-CN")):
            self.policy("open")
            with self.visitor.visit(width, locale=locale) as visit:
                page = self.console(visit, "admin", "#/")
                banner = page.locator(".banner.urge")
                banner.wait_for()
                self.assertUsable(visit, "the banner")
                banner.locator("a").click()
                page.wait_for_selector(".segments [data-name=open][aria-pressed=true]")
                page.click(".segments [data-name=approve]")
                page.wait_for_selector("dialog .primary:not([disabled])")
                self.assertUsable(visit, "the question about the policy")
                page.click("dialog .primary")
                page.wait_for_selector(".segments [data-name=approve][aria-pressed=true]")
                banner.wait_for(state="hidden")
                self.assertEqual(self.enrolment()["policy"], "approve")
                wide = "document.scrollingElement.scrollWidth - innerWidth"
                self.assertLessEqual(page.evaluate(wide), 0, locale)
                self.assertClean(visit)

    def test_by_an_administrator_only(self) -> None:
        with self.visitor.visit() as visit:
            page = self.console(visit, "operator")
            page.locator(".banner.urge").wait_for()
            page.wait_for_selector(".segments [data-name=open][aria-pressed=true]")
            self.assertEqual(page.locator(".segments button:not([disabled])").count(), 0)
            self.assertClean(visit)
        with self.visitor.visit() as visit:
            page = self.console(visit, "viewer", "#/")
            page.wait_for_selector(".rows .row")
            self.assertEqual(page.locator(".banner.urge:visible, nav a[href='#/enrolment']").count(), 0)
            self.assertClean(visit)

    def test_set_elsewhere_while_the_question_stands(self) -> None:
        with self.visitor.visit() as visit:
            page = self.console(visit, "admin")
            page.click(".segments [data-name=approve]")
            self.policy("known")
            page.wait_for_selector(".segments [data-name=known][aria-pressed=true]")
            self.agree(page)
            page.locator(".policy [role=alert]", has_text="nothing was done").wait_for()
            self.assertEqual(self.enrolment()["policy"], "known")


class QueueTests(EnrolmentTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.policy("approve")

    def test_one_click_lets_a_device_in(self) -> None:
        self.assertEqual(self.come(), "000005")
        for locale, titles in (("en-US", ("First seen", "HGM6120N")), ("zh-CN", ("首次出现", "HGM6120N"))):
            with self.visitor.visit("phone", locale=locale) as visit:
                page = self.console(visit, "operator")
                row = page.locator(f".candidate[data-hostid='{NEW}']")
                row.wait_for()
                for part in (NEW, "Yard 9", YARD, *titles):
                    self.assertIn(part, row.inner_text())
                self.assertEqual(row.locator("button:not([disabled])").count(), 0, "an operator decides nothing")
                page.locator("nav .badge", has_text="1").last.wait_for()
                self.assertUsable(visit, "the queue")
                self.assertClean(visit)
        with self.visitor.visit() as visit:
            page = self.console(visit, "admin")
            self.assertUsable(visit, "the queue of an administrator")
            page.click(f".candidate[data-hostid='{NEW}'] .primary")
            page.locator(".candidate a", has_text="Approved").wait_for()
            self.assertEqual(page.locator("dialog").count(), 0)
            self.assertUsable(visit, "approved")
            self.assertEqual(self.enrolment()["waiting"], [])
            page.click(".candidate a")
            page.locator("h1", has_text="Yard 9").wait_for()
            self.assertClean(visit)
        self.assertEqual(self.come(password="stranger", address=ELSEWHERE), "000004")
        self.assertEqual(self.come(), "000000")

    def test_devices_come_while_it_is_looked_at(self) -> None:
        with self.visitor.visit() as visit:
            page = self.console(visit, "admin")
            page.locator("text=No device waits.").wait_for()
            for number in range(3):
                self.come(f"{NEW}-{number}")
            rows = page.locator(".candidate")
            rows.nth(2).wait_for()
            rows.nth(1).locator("button", has_text="Reject").click()
            rows.nth(1).locator("text=Rejected").wait_for()
            hostids = [rows.nth(place).get_attribute("data-hostid") for place in range(3)]
            self.assertEqual(hostids, [f"{NEW}-{number}" for number in range(3)], "no row has moved")
            self.assertEqual(len(self.enrolment()["waiting"]), 2)
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur()")
            visit.until("document.querySelectorAll('.candidate').length === 2", "the row is gone")
            self.assertClean(visit)

    def test_two_that_claim_to_be_one(self) -> None:
        self.come()
        self.come(password="stranger", address=ELSEWHERE)
        with self.visitor.visit() as visit:
            page = self.console(visit, "admin")
            page.locator(".candidate .contested").wait_for()
            page.click(".candidate .primary")
            page.wait_for_selector("dialog .primary:not([disabled])")
            self.assertIn(NEW, page.inner_text("dialog"))
            self.assertUsable(visit, "the question about a contested device")
            page.click("dialog .buttons button:not(.primary)")
            self.assertEqual(len(self.enrolment()["waiting"]), 1)
            page.click(".candidate .primary")
            self.agree(page)
            page.locator(".candidate a", has_text="Approved").wait_for()
            self.assertClean(visit)
        self.assertEqual(self.come(), "000000")

    def test_another_device_than_the_one_that_was_shown(self) -> None:
        self.come()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["admin"]).page
            page.evaluate(SWAP)
            visit.open("#/enrolment")
            page.locator(".candidate", has_text="192.0.2.9").wait_for()
            page.evaluate("() => { window.swapped = true; document.querySelector('.candidate .primary').click(); }")
            page.locator(".candidate", has_text=YARD).wait_for()
            self.assertEqual(len(self.enrolment()["waiting"]), 1)
            self.assertClean(visit)


class RepairTests(EnrolmentTestCase):
    """A module ID that a stranger has taken, or that is to be free."""

    def setUp(self) -> None:
        super().setUp()
        self.assertEqual(self.come(), "000000")

    def settings(self, visit: Visit, role: Role = "admin") -> Page:
        page = self.console(visit, role, f"#/devices/{NEW}/settings")
        page.wait_for_selector("#panel-settings form")
        return page

    def test_the_password_is_reset(self) -> None:
        with self.visitor.visit() as visit, PlainDevice(self.world.daemon.port, YARD) as device:
            device.ask(message("LongCon", NEW))
            page = self.settings(visit)
            page.click("[data-act=reset-password]")
            page.wait_for_selector("dialog .primary:not([disabled])")
            self.assertIn(NEW, page.inner_text("dialog"))
            self.assertUsable(visit, "the question about the password")
            page.fill("#new-password", "654321")
            page.click("dialog .primary")
            page.locator(".repair [role=status]", has_text="was reset").wait_for()
            self.assertEqual(device.rest(), b"", "its session has ended")
            self.assertClean(visit)
        self.assertEqual(self.come(address=ELSEWHERE), "000004")
        self.assertEqual(self.come(password="654321"), "000000")

    def test_without_a_new_password_that_of_the_next_login_counts(self) -> None:
        with self.visitor.visit(locale="zh-CN") as visit:
            page = self.settings(visit)
            page.click("[data-act=reset-password]")
            self.agree(page)
            page.locator(".repair [role=status]", has_text="密码已重置").wait_for()
            self.assertUsable(visit, "settings")
        self.assertEqual(self.come(password="another"), "000000")

    def test_a_device_is_forgotten(self) -> None:
        with self.visitor.visit() as other, self.visitor.visit() as visit:
            fleet = self.console(other, "viewer", "#/")
            fleet.locator(".rows a", has_text="Yard 9").wait_for()
            page = self.settings(visit)
            page.click("[data-act=forget]")
            page.wait_for_selector("dialog .primary:not([disabled])")
            self.assertUsable(visit, "the question about forgetting")
            page.click("dialog .buttons button:not(.primary)")
            self.assertEqual(self.world.ask("GET", f"/devices/{NEW}")["row"]["hostid"], NEW)
            page.click("[data-act=forget]")
            self.agree(page)
            page.wait_for_selector(".rows .row")
            for one in (visit, other):
                one.until(
                    "![...document.querySelectorAll('.rows a')].some((one) => one.textContent === 'Yard 9')", "gone"
                )
                one.errors[:] = [error for error in one.errors if "404" not in error]  # it was just being asked for
                self.assertClean(one)
        self.assertNotIn(NEW, [one["hostid"] for one in self.world.devices()])

    def test_not_while_it_is_locked(self) -> None:
        self.world.ask("PUT", f"/devices/{NEW}/lock", {"reason": "belt"})
        with self.visitor.visit() as visit:
            page = self.settings(visit)
            page.click("[data-act=forget]")
            self.agree(page)
            page.locator(".repair [role=status]", has_text="locked for maintenance").wait_for()
        self.world.ask("DELETE", f"/devices/{NEW}/lock")

    def test_not_another_device_that_has_come_since(self) -> None:
        with self.visitor.visit() as visit:
            page = self.settings(visit)
            page.click("[data-act=forget]")
            page.route(f"**/api/v1/devices/{NEW}", _with_another_number)
            self.agree(page)
            page.locator(".repair [role=status]", has_text="nothing was done").wait_for()
            page.unroute(f"**/api/v1/devices/{NEW}")
            self.assertEqual(self.world.ask("GET", f"/devices/{NEW}")["row"]["hostid"], NEW)

    def test_by_an_administrator_only(self) -> None:
        with self.visitor.visit() as visit:
            page = self.settings(visit, "engineer")
            self.assertFalse(page.is_visible(".repair"))
            self.assertClean(visit)


def _with_another_number(route: Any) -> None:
    """What the daemon says of a device that has registered under the same module ID since."""
    answer = route.fetch()
    device = answer.json()
    device["row"]["number"] += 1
    route.fulfill(response=answer, body=json.dumps(device))
