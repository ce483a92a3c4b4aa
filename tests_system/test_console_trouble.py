"""The console when something is not as it should be."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

from playwright.sync_api import Page, Route

from tests.daemon import until
from tests_system.browser import Visit
from tests_system.console_case import ConsoleTestCase, answering
from tests_system.programs import answer


class TroubleTests(ConsoleTestCase):
    """When something is not as it should be, people see it.

    The gensets are calm: a state that changes takes a question back.
    """

    devices = 2
    options = ("--calm",)

    def in_auto(self, place: int) -> str:
        """A device that is there, in auto mode, whatever other tests have done with it."""
        hostid = self.host(place)
        until(lambda: self.world.ask("GET", f"/devices/{hostid}/live")["blocked"] is None, "a device to be had")
        self.world.send(hostid, "auto")
        return hostid

    def test_a_device_goes_offline(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).open(f"#/devices/{self.host(0)}").page
            page.wait_for_selector(".breaker[data-closed=yes]")
            self.world.end_fleet()
            page.wait_for_selector(".chip.s-offline")
            page.wait_for_selector(".k-auto[aria-disabled=true]")
            self.assertIn("offline", page.inner_text(".why"))
            self.assertEqual(page.locator(".breaker[data-closed=unknown]").count(), 2)
            self.assertEqual(page.locator(".breaker:not([data-closed=unknown])").count(), 0)
            self.assertGreater(page.locator("tr[data-quality=stale]").count(), 10)
            self.assertEqual(page.locator("tr[data-quality=good]").count(), 0)
            self.assertUsable(visit, "offline")
            self.world.begin_fleet(self.devices)
            page.wait_for_selector(".k-auto:not([aria-disabled])")
            self.assertClean(visit)

    def test_the_connection_is_lost(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).page
            visit.until("document.body.dataset.link === 'live'", "the stream")
            self.assertEqual(visit.errors, [])
            self.world.daemon.terminate()
            page.locator(".banner.lost", has_text="What you see is from").wait_for()
            self.assertUsable(visit, "lost")
            self.world.start()
            page.evaluate("document.querySelector('.banner.lost button')?.click()")  # it tries again by itself, too
            page.wait_for_selector("#token")  # sessions end with the daemon
            visit.sign_in(self.world.tokens["operator"])
            visit.until("document.body.dataset.link === 'live'", "the stream again")
            self.assertEqual([one for one in visit.errors if "ERR_" not in one and "401" not in one], [])

    def test_what_became_of_a_command_is_never_guessed(self) -> None:
        hostid = self.in_auto(1)
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).open(f"#/devices/{hostid}").page
            page.wait_for_selector(
                ".k-auto[data-on]:not([aria-disabled])"
            )  # a mode that turns up later is another state
            posts = "**/api/v1/devices/*/commands"
            for status, kind, body, said in (
                (502, "text/html", "<h1>Bad Gateway</h1>", "not known"),
                (403, "text/html", "<h1>Forbidden</h1>", "not known"),
                (200, "text/html", "<h1>Welcome</h1>", "not known"),
                (500, "application/problem+json", '{"code": "internal_error"}', "not known"),
                (503, "application/problem+json", '{"code": "not_audited"}', "Nothing was sent"),
                (409, "application/problem+json", '{"code": "device_offline"}', "Nothing was sent"),
            ):
                page.route(posts, answering(status=status, content_type=kind, body=body))
                page.click(".k-manual")
                with page.expect_response(posts):
                    page.click("dialog .primary")
                page.locator(".outcome .tag", has_text=said).wait_for()
                page.unroute(posts)
            page.route("**/api/v1/commands/*", lambda route: route.fulfill(status=502, body="no"))
            page.click(".k-manual")
            page.click("dialog .primary")
            page.locator(".outcome .o-yes", has_text="Done").wait_for()
            self.assertNotIn("Nothing was sent", page.inner_text(".outcome"))

    def test_what_was_asked_about_is_over(self) -> None:
        hostid = self.in_auto(1)
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).open(f"#/devices/{hostid}").page
            page.wait_for_selector(".k-auto[data-on]:not([aria-disabled])")
            page.click(".k-test")
            self.world.send(hostid, "manual")
            page.wait_for_selector(".k-manual[data-on]")
            page.click("dialog .primary")
            page.locator(".outcome .tag", has_text="Nothing was sent: mode, engine or breakers have changed").wait_for()
            self.world.send(hostid, "auto")
            page.wait_for_selector(".k-auto[data-on]")
            names = [one["name"] for one in self.world.ask("GET", f"/commands?hostid={hostid}")["commands"]]
            self.assertNotIn("test", names)
            self.assertClean(visit)

    def test_a_question_ends_with_its_page(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).open(f"#/devices/{self.host(1)}").page
            page.wait_for_selector(".k-manual:not([aria-disabled])")
            page.click(".k-manual")
            page.wait_for_selector("dialog .primary")
            self.assertTrue(page.evaluate("document.querySelector('dialog .primary').disabled"))
            visit.open("#/alarms")
            visit.until("!document.querySelector('dialog')", "the question is gone")
            self.assertClean(visit)

    def test_a_sign_out_that_fails(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).page
            page.route("**/api/v1/session", lambda route: route.fulfill(status=502, body="no"))
            page.click(".menu-button")
            page.click(".menu button")
            page.locator(".banner.lost", has_text="still signed in").wait_for()
            page.unroute("**/api/v1/session")
            page.locator(".banner.lost button").click()
            page.wait_for_selector("#token")

    def test_nobody_can_sign_in_yet(self) -> None:
        """Seen from another host, as long as there are no tokens."""
        problem = '{"code": "not_signed_in", "detail": "there are no tokens yet"}'
        with self.visitor.visit() as visit:
            refused = answering(status=401, content_type="application/problem+json", body=problem)
            visit.page.route("**/api/v1/session", refused)
            visit.open().page.wait_for_selector("#token")

    def test_nobody_has_a_device_of_this_name(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).open("#/devices/NOBODY").page
            page.locator("[role=alert]", has_text="no such device").wait_for()

    def device_page(self, visit: Visit, place: int) -> Page:
        """A device's page on which commands can be sent."""
        page = visit.open().sign_in(self.world.tokens["operator"]).open(f"#/devices/{self.host(place)}").page
        page.wait_for_selector(".k-manual:not([aria-disabled])")
        visit.until("document.body.dataset.link === 'live'", "the stream")
        return page

    def test_a_tab_that_nobody_sees_holds_no_connection(self) -> None:
        with self.visitor.visit() as visit:
            page = self.device_page(visit, 1)
            hide = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); \
                document.dispatchEvent(new Event('visibilitychange')); }"
            with page.expect_event("requestfailed", lambda request: "/events?" in request.url, timeout=20_000):
                page.evaluate(hide, True)
            visit.until("document.body.dataset.link === 'wait'", "no stream")
            page.wait_for_timeout(1500)
            with page.expect_request("**/api/v1/events?*"):
                page.evaluate(hide, False)
            visit.until("document.body.dataset.link === 'live'", "the stream again")
            self.assertClean(visit)

    def test_connections_that_others_hold(self) -> None:
        """Six streams are as many connections as a browser has: no page says that it is live, and nothing waits."""
        hostid = self.host(1)
        with self.visitor.visit() as visit:
            page = self.device_page(visit, 1)
            before = len(self.world.ask("GET", f"/commands?hostid={hostid}&limit=1000")["commands"])
            held = "url => { window.held = Array.from({length: 6}, () => \
                fetch(url, {headers: {Accept: 'text/event-stream'}, cache: 'no-store'})); }"
            page.evaluate(held, f"/api/v1/events?hostid={hostid}")
            page.click(".k-manual")
            page.locator(".outcome .tag", has_text="Nothing was sent: the daemon did not say").wait_for()
            page.locator(".banner.lost:not([hidden])").wait_for()
            self.assertEqual(page.locator("dialog").count(), 0)
            self.assertEqual(page.locator("tr[data-quality=good]").count(), 0)
            self.assertEqual(len(self.world.ask("GET", f"/commands?hostid={hostid}&limit=1000")["commands"]), before)

    def test_a_command_that_hangs(self) -> None:
        with self.visitor.visit() as visit:
            page = self.device_page(visit, 1)
            with visit.holding("**/api/v1/devices/*/commands") as held:
                page.click(".k-manual")
                before = page.evaluate("Date.now()")
                page.click("dialog .primary")
                page.locator(".outcome .tag", has_text="not known").wait_for()
                given_up = page.evaluate("Date.now()")
                sent = json.loads(held[0].request.post_data or "")
                self.assertGreater(sent["not_after"], before)
                self.assertLessEqual(sent["not_after"], given_up, "the page gives up later than the daemon")

    def test_a_command_without_an_answer_is_found_by_its_key(self) -> None:
        hostid = self.host(1)
        posts = "**/api/v1/devices/*/commands"
        with self.visitor.visit() as visit:
            page = self.device_page(visit, 1)
            page.route(posts, answering(status=502, body="no"))
            page.click(".k-manual")
            page.click("dialog .primary")
            page.locator(".outcome .tag", has_text="not known").wait_for()
            self.world.send(hostid, "manual")  # by somebody else
            page.locator(".outcome .others", has_text="the-admin").wait_for()
            page.wait_for_timeout(4000)
            self.assertIn("not known", page.inner_text(".outcome"))
            self.assertEqual(page.locator(".outcome .steps").count(), 0)
            page.unroute(posts)

            def lose(route: Route) -> None:
                route.fetch()
                route.fulfill(status=502, body="no")

            page.route(posts, lose)
            page.click(".k-auto")
            page.click("dialog .primary")
            page.locator(".outcome .step.o-yes", has_text="Done").wait_for()
            self.assertIn("the-operator", page.inner_text(".outcome"))

    def test_ones_own_command_stays(self) -> None:
        hostid = self.host(1)
        with self.visitor.visit() as visit:
            page = self.device_page(visit, 1)
            page.click(".k-manual")
            page.click("dialog .primary")
            page.locator(".outcome .o-yes", has_text="Done").wait_for()
            self.world.send(hostid, "auto")
            page.locator(".outcome .others", has_text="the-admin").wait_for()
            self.assertIn("Manual", page.inner_text(".outcome h3"))
            self.assertIn("the-operator", page.inner_text(".outcome h3 + p"))
            self.assertUsable(visit, "two commands")
            self.assertClean(visit)

    def test_values_that_are_not_told(self) -> None:
        lives = "**/api/v1/devices/*/live*"
        with self.visitor.visit() as visit:
            page = self.device_page(visit, 1)
            page.locator("tr[data-quality=good]").nth(10).wait_for()
            page.click(".k-manual")
            page.wait_for_selector("dialog .primary:not([disabled])")
            page.route(lives, answering(status=502, body="no"))
            with page.expect_response(lives):
                page.click("dialog .primary")
            page.locator(".outcome .tag", has_text="Nothing was sent").wait_for()
            page.locator(".chip.old", has_text="Not up to date").wait_for()
            self.assertEqual(page.locator("tr[data-quality=good]").count(), 0)
            self.assertEqual(page.locator(".breaker:not([data-closed=unknown])").count(), 0)
            page.click(".k-manual")
            page.wait_for_timeout(1500)
            self.assertEqual(page.locator("dialog").count(), 0)
            self.assertUsable(visit, "old values")
            page.unroute(lives)
            page.locator("tr[data-quality=good]").first.wait_for()
            self.assertEqual(page.locator(".chip.old", has_text="Not up to date").count(), 0)

    def test_alarms_that_are_not_told(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).page
            page.wait_for_selector(".rows .row")
            page.route("**/api/v1/alarms*", answering(status=502, body="no"))
            page.route("**/api/v1/status", answering(status=502, body="no"))
            page.evaluate("location.hash = '#/devices/' + document.querySelector('.rows a').href.split('/').pop()")
            page.reload()
            page.locator(".alarms-unknown", has_text="Refused").wait_for()
            self.assertFalse(page.get_by_text("No active alarms").is_visible())
            self.assertEqual(page.inner_text(".badge"), "?")
            page.unroute("**/api/v1/alarms*")
            page.wait_for_selector(".alarm-list:not([hidden])")
            self.assertFalse(page.locator(".alarms-unknown").is_visible())
            page.unroute("**/api/v1/status")
            visit.until("document.querySelector('.badge').textContent !== '?'", "how many alarms are open")
            page.unroute_all(behavior="wait")

    def test_a_profile_that_is_gone(self) -> None:
        hostid = self.host(0)
        profile = self.world.ask("GET", f"/devices/{hostid}")["row"]["profile"]
        self.world.ask("PATCH", f"/devices/{hostid}/settings", {"profile": profile})
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["admin"]).page
            page.route("**/api/v1/controllers", answering(status=200, content_type="application/json", body="[]"))
            visit.open(f"#/devices/{hostid}/settings")
            page.fill("#set-history_interval", "7")
            self.assertEqual(page.input_value("#set-profile"), profile)
            page.click("#panel-settings button[type=submit]")
            page.locator("[role=status]", has_text="Saved").wait_for()
            settings = self.world.ask("GET", f"/devices/{hostid}")["settings"]
            self.assertEqual((settings["profile"], settings["history_interval"]), (profile, 7))
            self.world.ask("PATCH", f"/devices/{hostid}/settings", {"profile": None, "history_interval": None})
            self.assertClean(visit)

    def test_news_that_cannot_be_read(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).page
            visit.until("document.body.dataset.link === 'live'", "the stream")
            bad = answering(status=200, content_type="text/event-stream", body="event: live\ndata: {what\n\n")
            page.route("**/api/v1/events?*", bad)
            page.reload()
            visit.until("document.body.dataset.link === 'lost'", "it says so")
            page.unroute("**/api/v1/events?*")
            visit.until("document.body.dataset.link === 'live'", "the stream again")


class SilentTests(ConsoleTestCase):
    """A module that does not answer orders."""

    devices = 1
    options = ("--calm", "--misbehave", "silent")

    def test_nobody_knows(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).open(f"#/devices/{self.host(0)}/commands").page
            page.click(".k-manual")
            page.click("dialog .primary")
            page.locator(".outcome .o-unknown", has_text="Outcome unknown: no answer").wait_for()
            said = page.inner_text(".outcome")
            self.assertIn("It is unknown whether it was done", said)
            self.assertNotIn("fail", said.lower())
            page.locator("#panel-commands .tag.o-unknown").wait_for()
            self.assertUsable(visit, "outcome unknown")
            self.assertClean(visit)


class SignInTests(ConsoleTestCase):
    """Wrong tokens are answered late, so that nobody finds one by trying."""

    devices = 0

    def guess(self, times: int) -> None:
        """Show wrong tokens at once: the first is held for a second, the others are turned away."""
        url = f"{self.world.url}/api/v1/status"
        with ThreadPoolExecutor(times) as pool:
            said = list(pool.map(lambda _: json.loads(answer(url, Authorization="Bearer wrong")), range(times)))
        self.assertEqual({one["code"] for one in said}, {"unauthorized", "too_many_requests"})

    def test_the_fifth_wrong_token(self) -> None:
        """Held for 16 s: longer than anything else is waited for. Who comes meanwhile reads why in his language."""
        self.guess(4)
        with self.visitor.visit() as visit, self.visitor.visit(locale="zh-CN") as meanwhile:
            page, other = visit.open().page, meanwhile.open().page
            page.fill("#token", "cmmd_wrong")
            began = time.monotonic()
            page.keyboard.press("Enter")
            page.locator(".signin [role=status]", has_text="This takes long on purpose").wait_for()
            self.assertUsable(visit, "a wrong token is held")
            other.fill("#token", "cmmd_wrong")
            other.keyboard.press("Enter")
            other.locator("#wrong", has_text="被拒绝：请求过多").wait_for()
            page.locator("#wrong:not(:empty)").wait_for()
            self.assertIn("not known", page.inner_text("#wrong"))
            self.assertGreater(time.monotonic() - began, 12)
            self.assertEqual(page.inner_text(".signin [role=status]"), "")
            visit.sign_in(self.world.tokens["viewer"])
            self.assertEqual([one for one in visit.errors if "401" not in one], [])
