"""The console where people are beside the machine: the lock, stop, inputs of the device, and doubt about who it is."""

import json
import re
import time
from typing import Any

from playwright.sync_api import Page, Route

from cmmd.fleet.roles import Role
from tests.daemon import DEADLINE_S, until
from tests.plain_device import PlainDevice, message
from tests_system.browser import Visit
from tests_system.console_case import ConsoleTestCase, answering

POSTS = "**/api/v1/devices/*/commands"
LIVE = re.compile(r"/devices/[^/]+/live")
STRANGER = "127.0.0.9"
NOT_STOP = ("auto", "manual", "test", "start", "mains_breaker_toggle", "generator_breaker_toggle")


class PeopleTestCase(ConsoleTestCase):
    """Gensets that change nothing by themselves."""

    stage = "people"
    devices = 2
    options = ("--calm",)
    at_once_s = DEADLINE_S

    def setUp(self) -> None:
        super().setUp()
        self.hostid = self.host(0)
        self.path = f"/devices/{self.hostid}"
        self.addCleanup(self.nothing_in_the_way)

    def nothing_in_the_way(self) -> None:
        """Leave the device as the next test wants it."""
        self.world.ask("DELETE", f"{self.path}/lock")
        for name in self.live()["input_reports"]:
            self.world.ask("DELETE", f"{self.path}/inputs/{name}")
        until(lambda: self.live()["blocked"] is None, "a device to be had")

    def live(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.ask("GET", f"{self.path}/live")
        return found

    def lock(self, reason: str = "belt") -> None:
        """As an administrator."""
        self.world.ask("PUT", f"{self.path}/lock", {"reason": reason})

    def say(self, address: str, **inputs: int) -> None:
        """Have somebody who claims to be the device say something of its inputs, and go."""
        with PlainDevice(self.world.daemon.port, address) as device:
            device.send(message("LongCon", self.hostid))
            device.ask(message("reqdatachange", self.hostid, params={}, **inputs))
        until(lambda: not self.world.ask("GET", self.path)["row"]["in_doubt"], "the stranger is gone")

    def sent(self) -> list[dict[str, Any]]:
        """The commands of the device, the newest first."""
        found: list[dict[str, Any]] = self.world.ask("GET", f"/commands?hostid={self.hostid}&limit=100")["commands"]
        return found

    def device_page(self, visit: Visit, role: Role = "operator") -> Page:
        """The device's page, on which stop can be sent."""
        page = visit.open().sign_in(self.world.tokens[role]).open(f"#{self.path}").page
        page.wait_for_selector(".k-stop:not([aria-disabled])")
        visit.until("document.body.dataset.link === 'live'", "the stream")
        return page

    def assertOnlyStop(self, page: Page) -> None:
        """Every command but stop is shown disabled, and does nothing."""
        page.wait_for_selector(".k-auto[aria-disabled=true]")
        for name in NOT_STOP:
            self.assertEqual(page.get_attribute(f".k-{name}", "aria-disabled"), "true", name)
        self.assertIsNone(page.get_attribute(".k-stop", "aria-disabled"))
        self.assertIn("No command but Stop can be sent", page.inner_text(".why"))
        page.click(".k-start", force=True)
        page.wait_for_timeout(300)
        self.assertEqual(page.locator("dialog").count(), 0)

    def stop(self, page: Page) -> None:
        """Send stop, and wait until it is done."""
        before = {one["number"] for one in self.sent()}
        page.click(".k-stop")
        page.click("dialog .primary")
        until(lambda: {one["number"] for one in self.sent()} - before, "it has reached the daemon")
        page.locator(".stop-outcome .o-yes", has_text="Done").wait_for()
        self.assertEqual([one["name"] for one in self.sent() if one["number"] not in before], ["stop"])


class LockTests(PeopleTestCase):
    """The maintenance lock."""

    def test_locks_and_unlocks(self) -> None:
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            page.click("button.lock")
            page.wait_for_selector("dialog .primary:not([disabled])")
            self.assertUsable(visit, "the question for a reason")
            page.click("dialog .primary")
            self.assertEqual(page.locator("dialog").count(), 1, "a lock without a reason")
            page.keyboard.type("oil change")
            page.keyboard.press("Enter")
            banner = page.locator(".notice.lock")
            banner.wait_for()
            said = r"Locked for maintenance by token the-operator since \d.*: oil change"
            self.assertRegex(banner.inner_text(), said)
            self.assertFalse(page.is_visible("button.lock"))
            self.assertOnlyStop(page)
            self.assertIn("oil change", page.inner_text(".why"))
            self.assertUsable(visit, "locked")
            self.stop(page)
            page.click("#tab-events")
            page.locator("#panel-events td", has_text="Locked for maintenance").first.wait_for()
            page.click(".notice.lock button")
            page.click("dialog .primary")
            page.wait_for_selector(".k-auto:not([aria-disabled])")
            self.assertEqual(page.locator(".notice").count(), 0)
            page.locator("#panel-events td", has_text="Unlocked").first.wait_for()
            self.assertClean(visit)

    def test_the_module_restarts_all_the_same(self) -> None:
        self.lock()
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            page.click("#tab-settings")
            page.click("#panel-settings button:has-text('Restart')")
            page.click("dialog .primary")
            page.locator(".outcome h3", has_text="Restart of the module").wait_for()
            until(lambda: self.sent()[0]["outcome"] == "done", "it has restarted")
            self.assertClean(visit)

    def test_of_somebody_else(self) -> None:
        with self.visitor.visit() as visit, self.visitor.visit() as other:
            page = self.device_page(visit)
            self.lock("a hand in the fan")
            page.locator(".notice.lock", has_text="token the-admin").wait_for()
            self.assertTrue(page.is_disabled(".notice.lock button"))
            self.assertIn("or an administrator", page.inner_text(".notice.lock"))
            self.assertOnlyStop(page)
            admin = self.device_page(other, "admin")
            admin.click(".notice.lock button")
            admin.wait_for_selector("dialog .primary:not([disabled])")
            self.assertIn("a hand in the fan", admin.inner_text("dialog"))
            self.lock("two hands in the fan")
            admin.locator(".notice.lock", has_text="two hands").wait_for()
            admin.click("dialog .primary")
            admin.locator(".beside [role=alert]", has_text="has changed").wait_for()
            self.assertIsNotNone(self.live()["lock"])
            admin.click(".notice.lock button")
            admin.click("dialog .primary")
            page.wait_for_selector(".k-auto:not([aria-disabled])")
            self.assertClean(visit)
            self.assertClean(other)

    def test_a_viewer_neither_locks_nor_unlocks(self) -> None:
        with self.visitor.visit("phone") as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).open(f"#{self.path}").page
            page.wait_for_selector("button.lock")
            self.assertTrue(page.is_disabled("button.lock"))
            self.lock()
            page.reload()
            page.wait_for_selector(".notice.lock")
            page.wait_for_timeout(500)
            self.assertEqual(page.evaluate("scrollY"), 0, "it is out of sight")
            self.assertEqual(page.locator(".notice.lock button").count(), 0)
            self.assertEqual(page.get_attribute(".k-stop", "aria-disabled"), "true")

    def test_wherever_the_device_is_shown(self) -> None:
        self.lock("<b>belt</b>")
        alarm = {"number": 1, "hostid": self.hostid, "signal": "fire", "title": "Fire", "severity": "alarm"}
        alarm |= dict.fromkeys(("acknowledged_at", "acknowledged_by", "cleared_at")) | {"raised_at": 1}
        alarms = json.dumps({"alarms": [alarm], "next": None, "total": 1})
        for width in ("phone", "desk"):
            with self.visitor.visit(width) as visit:
                page = visit.open().sign_in(self.world.tokens["viewer"]).page
                row = page.locator(".rows .row", has=page.locator(f'a[href$="{self.hostid}"]'))
                row.locator(".lock-mark", has_text="Locked").wait_for()
                self.assertEqual(page.locator(".rows .lock-mark").count(), 1)
                if width == "desk":
                    self.assertIn("token the-admin: <b>belt</b>", row.inner_text())
                self.assertUsable(visit, "a locked device in the fleet")
                page.route("**/api/v1/alarms*", answering(status=200, content_type="application/json", body=alarms))
                visit.open("#/alarms")
                page.locator(".alarm .lock-mark").wait_for()
                visit.open("#/map")
                name = self.world.ask("GET", self.path)["row"]["hostname"]
                mark = page.locator(f".mark[aria-label*='{name}']")
                mark.wait_for()
                self.assertIn("Locked for maintenance", mark.get_attribute("aria-label") or "")
                mark.click(force=True)
                page.locator(".popup .locked-by", has_text="token the-admin: <b>belt</b>").wait_for()
                self.assertUsable(visit, "a locked device on the map")
                self.assertClean(visit)


class StopTests(PeopleTestCase):
    """Nothing holds stop up."""

    def test_whatever_has_changed_since_it_was_asked_about(self) -> None:
        self.world.send(self.hostid, "auto")
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            page.click(".k-stop")
            self.world.send(self.hostid, "manual")
            page.wait_for_selector(".k-manual[data-on]")
            self.lock()
            page.wait_for_selector(".k-auto[aria-disabled=true]")
            with page.expect_request(POSTS) as posted:
                page.click("dialog .primary")
            self.assertEqual(json.loads(posted.value.post_data or ""), {"kind": "named", "name": "stop"})
            page.locator(".stop-outcome .o-yes", has_text="Done").wait_for()
            self.assertClean(visit)

    def test_at_once_while_another_command_hangs(self) -> None:
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            with visit.holding(POSTS) as held:
                page.click(".k-manual")
                page.click("dialog .primary")
                page.wait_for_timeout(500)
                page.click(".k-stop")
                began = time.monotonic()
                page.click("dialog .primary")
                while len(held) < 2 and time.monotonic() - began < DEADLINE_S:
                    page.wait_for_timeout(20)
                self.assertLess(time.monotonic() - began, self.at_once_s)
                names = [json.loads(one.request.post_data or "")["name"] for one in held]
                self.assertEqual(names, ["manual", "stop"])
                held[1].continue_()
                page.locator(".stop-outcome .o-yes", has_text="Done").wait_for()
                page.locator(".outcome .tag", has_text="not known").wait_for()
                self.assertIn("Stop", page.inner_text(".stop-outcome h3"))

    def test_at_once_while_the_daemon_says_nothing(self) -> None:
        """Values are not told any more, and a question about another command waits for them."""
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            with visit.holding("**/api/v1/devices/*/live*"):
                page.click(".k-manual")
                page.locator(".outcome", has_text="Asking how the genset is").wait_for()
                began = time.monotonic()
                self.stop(page)
                self.assertLess(time.monotonic() - began, 2 * self.at_once_s)
                page.locator(".chip.old", has_text="Not up to date").wait_for()
                self.assertIsNone(page.get_attribute(".k-stop", "aria-disabled"))
                self.stop(page)

    def test_other_windows_hold_the_browsers_connections(self) -> None:
        """There are six: stop takes that of the page's own stream."""
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            before = len(self.sent())
            held = "url => { window.held = Array.from({length: 7}, () => \
                fetch(url, {headers: {Accept: 'text/event-stream'}, cache: 'no-store', priority: 'low'})); }"
            page.evaluate(held, f"/api/v1/events?hostid={self.hostid}")
            page.wait_for_timeout(1000)
            page.click(".k-stop")
            began = time.monotonic()
            page.click("dialog .primary")
            until(lambda: len(self.sent()) > before, "it has reached the daemon")
            self.assertLess(time.monotonic() - began, 2 * self.at_once_s)
            self.assertEqual(self.sent()[0]["name"], "stop")

    def test_failures_are_loud_and_nothing_is_sent_again(self) -> None:
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            tried: list[str] = []
            page.on("request", lambda one: tried.append(one.url) if one.method == "POST" else None)
            problem = '{"code": "device_offline"}'
            for answer, said in (
                ({"status": 502, "body": "no"}, "not known whether STOP was accepted"),
                ({"status": 409, "content_type": "application/problem+json", "body": problem}, "STOP was not sent"),
            ):
                page.route(POSTS, answering(**answer))
                page.click(".k-stop")
                page.click("dialog .primary")
                page.locator(".stop-outcome [role=alert]", has_text=said).wait_for()
                self.assertIn("not sent again by itself", page.inner_text(".stop-outcome"))
                self.assertUsable(visit, said)
                page.wait_for_timeout(3500)
                self.assertEqual(len(tried), 1, said)
                tried.clear()
                page.unroute(POSTS)
            self.stop(page)
            self.assertEqual(page.locator(".stop-outcome [role=alert]").count(), 0)

    def test_a_failure_is_told_on_every_page(self) -> None:
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            with visit.holding(POSTS) as held:
                page.click(".k-stop")
                page.click("dialog .primary")
                while not held:
                    page.wait_for_timeout(20)
                visit.open("#/alarms")
                page.wait_for_selector(".segments")
                held[0].abort()
                dialog = page.locator("dialog[role=alertdialog]")
                dialog.wait_for()
                self.assertIn("not known whether STOP was accepted", dialog.inner_text())
                self.assertUsable(visit, "a notice")
                page.keyboard.press("Enter")
                self.assertEqual(dialog.count(), 0)


class InputTests(PeopleTestCase):
    """What the device's own inputs say."""

    def test_a_stranger_inhibits(self) -> None:
        self.say(STRANGER, InhbitRemote=1, AccessAlarm=1)
        with self.visitor.visit() as visit:
            page = self.device_page(visit)
            report = page.locator(".report[data-input=remote_inhibited]")
            self.assertRegex(report.inner_text(), rf"last said \d.* by {re.escape(STRANGER)}")
            self.assertIn("Door", page.inner_text(".report[data-input=access_alarm]"))
            self.assertIn(STRANGER, page.inner_text(".why"))
            self.assertOnlyStop(page)
            self.assertEqual(page.locator(".report button, .anyway").count(), 0, "only an administrator has these")
            self.assertIn(f"by {STRANGER}", page.locator("tr", has_text="Remote control inhibited").last.inner_text())
            self.assertUsable(visit, "inhibited")
            self.stop(page)
            self.assertClean(visit)

    def test_an_administrator_sends_it_anyway(self) -> None:
        self.say(STRANGER, InhbitRemote=1)
        with self.visitor.visit() as visit:
            page = self.device_page(visit, "admin")
            page.wait_for_selector(".k-manual[aria-disabled=true]")
            self.assertIn("As an administrator", page.inner_text(".why"))
            page.click(".k-auto", force=True)
            page.locator(".anyway", has_text="Send Auto anyway").wait_for()
            page.click(".k-manual", force=True)
            page.locator(".anyway", has_text="Send Manual anyway").click()
            page.wait_for_selector("dialog .primary:not([disabled])")
            asked = page.inner_text("dialog")
            for part in ("Remote control inhibited", STRANGER, "Last said"):
                self.assertIn(part, asked)
            self.assertUsable(visit, "the question about an override")
            page.click("dialog .primary")
            page.locator(".outcome .o-yes", has_text="Done").wait_for()
            newest = self.sent()[0]
            self.assertEqual((newest["name"], newest["overridden"]), ("manual", "remote_inhibited"))
            self.assertEqual(page.get_attribute(".k-auto", "aria-disabled"), "true", "it was for one command")
            self.assertClean(visit)

    def test_an_override_of_what_is_over(self) -> None:
        self.say(STRANGER, InhbitRemote=1)
        before = len(self.sent())
        with self.visitor.visit() as visit:
            page = self.device_page(visit, "admin")
            page.click(".k-manual", force=True)
            page.click(".anyway")
            page.wait_for_selector("dialog .primary:not([disabled])")
            self.world.ask("DELETE", f"{self.path}/inputs/remote_inhibited")
            page.wait_for_selector(".k-auto:not([aria-disabled])")
            page.click("dialog .primary")
            page.locator(".outcome .tag", has_text="nothing to override").wait_for()
            self.assertEqual(len(self.sent()), before)

    def test_an_administrator_clears_it(self) -> None:
        self.say(STRANGER, InhbitRemote=1)
        with self.visitor.visit() as visit:
            page = self.device_page(visit, "admin")
            page.click(".report[data-input=remote_inhibited] button")
            page.wait_for_selector("dialog .primary:not([disabled])")
            self.assertIn(STRANGER, page.inner_text("dialog"))
            page.click("dialog .primary")
            page.wait_for_selector(".k-auto:not([aria-disabled])")
            self.assertEqual(page.locator(".report").count(), 0)
            page.click("#tab-events")
            cleared = page.locator("#panel-events tr", has_text="Input cleared: Remote control inhibited").first
            cleared.wait_for()
            self.assertIn(STRANGER, cleared.inner_text())
            self.assertClean(visit)

    def test_a_report_that_is_not_repeated(self) -> None:
        self.say(STRANGER, FireAlarm=1)

        def aged(route: Route) -> None:
            answer = route.fetch()
            live = answer.json()
            for report in live["input_reports"].values():
                report["stale"] = True
            route.fulfill(response=answer, json=live)

        with self.visitor.visit() as visit:
            visit.page.route(LIVE, aged)
            page = self.device_page(visit)
            report = page.locator(".report[data-input=fire_alarm]", has_text="not repeated since")
            report.wait_for()
            self.assertIn("Fire", report.inner_text())
            self.assertUsable(visit, "a stale report")
            page.unroute(LIVE)
            self.assertClean(visit)

    def test_a_toggle_of_a_state_that_is_not_known(self) -> None:
        posted: list[dict[str, Any]] = []

        def refuse(route: Route) -> None:
            posted.append(json.loads(route.request.post_data or ""))
            code = "stale" if len(posted) == 1 else "queue_full"
            body = json.dumps({"code": code})
            route.fulfill(status=409, content_type="application/problem+json", body=body)

        offers: dict[Role, int] = {"operator": 0, "admin": 1}
        for role, offered in offers.items():
            posted.clear()
            with self.visitor.visit() as visit:
                page = self.device_page(visit, role)
                page.route(POSTS, refuse)
                page.click(".k-mains_breaker_toggle")
                page.click("dialog .primary")
                page.locator(".outcome .tag", has_text="is not known now").wait_for()
                self.assertEqual(page.locator(".anyway").count(), offered, role)
                if offered:
                    page.click(".anyway")
                    page.wait_for_selector("dialog .primary:not([disabled])")
                    self.assertIn("127.0.0.1", page.inner_text("dialog"))
                    page.click("dialog .primary")
                    page.locator(".outcome .tag", has_text="too many commands").wait_for()
                    self.assertEqual([one.get("override") for one in posted], [None, "stale"])


class DoubtTests(PeopleTestCase):
    """Sessions from two addresses."""

    def test_only_stop(self) -> None:
        with self.visitor.visit() as visit, PlainDevice(self.world.daemon.port, STRANGER) as stranger:
            page = self.device_page(visit)
            stranger.send(message("LongCon", self.hostid))
            page.locator(".notice.doubt", has_text=STRANGER).wait_for()
            self.assertIn("it logged in from 127.0.0.1", page.inner_text(".notice.doubt"))
            self.assertOnlyStop(page)
            self.assertIn(STRANGER, page.inner_text(".why"))
            self.assertUsable(visit, "two addresses")
            self.stop(page)
            page.click("#tab-events")
            page.locator("#panel-events td", has_text="Session from another address").first.wait_for()
            stranger.socket.close()
            page.wait_for_selector(".k-auto:not([aria-disabled])")
            visit.until("!document.querySelector('.notice')", "no doubt")
            self.assertClean(visit)
