"""The console as people meet it: a real daemon, simulated gensets, and Chromium."""

import atexit
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from playwright.sync_api import Page, Route
from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import until
from tests_system.browser import WIDTHS, Visit, Visitor, serious_violations
from tests_system.console_world import ConsoleWorld

DEVICES = 10  # as "make demo" has
MANY = 5000
FIRST_ROWS_S = 2.0

TABS = ("values", "charts", "events", "commands", "settings", "raw")


class Stage:
    """The world of the class whose tests run, and a browser that looks at it. Trial calls no setUpClass."""

    def __init__(self) -> None:
        self._of: type[object] | None = None
        self._world: ConsoleWorld | None = None
        self._visitor: Visitor | None = None
        atexit.register(self.close)

    def set_for(self, tests: "type[ConsoleTestCase]") -> tuple[ConsoleWorld, Visitor]:
        """The world of these tests, which ends that of others."""
        if self._of is not tests:
            self.close()
            self._of = tests
            self._world = ConsoleWorld(tests.devices, tests.options)
            self._visitor = Visitor(self._world.url)
        assert self._world is not None and self._visitor is not None
        return self._world, self._visitor

    def close(self) -> None:
        """End what there is."""
        visitor, self._visitor = self._visitor, None
        world, self._world = self._world, None
        if visitor is not None:
            visitor.close()
        if world is not None:
            world.close()


STAGE = Stage()


class ConsoleTestCase(SynchronousTestCase):
    """Has a world and a browser.

    :cvar devices: how many the world has. :cvar options: of the simulator.
    """

    devices: ClassVar[int] = DEVICES
    options: ClassVar[Sequence[str]] = ()

    def setUp(self) -> None:
        self.world, self.visitor = STAGE.set_for(type(self))

    def assertClean(self, visit: Visit) -> None:
        """Nothing went wrong on the page, and it asked nobody but us."""
        self.assertEqual(visit.errors, [])
        self.assertEqual(visit.strangers, [])

    def assertUsable(self, visit: Visit, where: str) -> None:
        """axe-core finds nothing that keeps people out."""
        self.assertEqual(serious_violations(visit.page), [], where)

    def run_module(self, name: str, script: str, *arguments: object) -> Any:
        """What a function makes of a module, and of arguments."""
        with self.visitor.visit() as visit:
            page = visit.open().page
            base = page.get_attribute('meta[name="cmmd-static"]', "content")
            call = f"({script})(await import('{base}js/{name}'), ...given)"
            return page.evaluate(f"async (given) => {call}", list(arguments))

    def host(self, place: int) -> str:
        hostid: str = self.world.devices()[place]["hostid"]
        return hostid


class DayTests(ConsoleTestCase):
    """What an operator does."""

    def test_signs_in(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().page
            page.wait_for_selector("#token")
            self.assertUsable(visit, "sign-in")
            self.assertClean(visit)
            page.fill("#token", "cmmd_wrong")
            page.keyboard.press("Enter")
            visit.until("document.querySelector('#wrong').textContent", "what is wrong")
            self.assertIn("not known", page.inner_text("#wrong"))
            visit.errors.clear()  # a 401 is one, for Chromium
            visit.sign_in(self.world.tokens["operator"])
            page.wait_for_selector(".rows .row")
            page.reload()
            page.wait_for_selector(".rows .row")
            page.click(".menu-button")
            page.click(".menu button")
            page.wait_for_selector("#token")
            self.assertClean(visit)

    def test_sees_the_fleet_live(self) -> None:
        hostid = self.host(4)
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            visit.until(f"document.querySelectorAll('.rows .row').length === {DEVICES}", "all rows")
            visit.until("document.body.dataset.link === 'live'", "the stream")
            self.assertEqual(page.inner_text(".count.s-all strong"), str(DEVICES))
            row = page.locator(".rows .row", has=page.locator(f'a[href$="{hostid}"]'))
            for name, shown in (("manual", "Manual"), ("auto", "Auto")):
                self.assertEqual(self.world.send(hostid, name)["outcome"], "done")
                row.locator(".mode", has_text=shown).wait_for()
            page.fill("#q", "sim 0003")
            visit.until("document.querySelectorAll('.rows .row').length === 1", "the one that is sought")
            self.assertIn("q=sim", page.url)
            page.click("text=Clear filters")
            visit.until(f"document.querySelectorAll('.rows .row').length === {DEVICES}", "all rows again")
            page.click(".c-name button")
            names = page.locator(".rows .c-name a").all_inner_texts()
            self.assertEqual(names, sorted(names))
            self.assertClean(visit)

    def test_puts_a_genset_into_auto(self) -> None:
        hostid = self.host(6)
        self.assertEqual(self.world.send(hostid, "manual")["outcome"], "done")
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).page
            page.click(f'.rows a[href$="{hostid}"]')
            page.wait_for_selector(".k-manual[data-on]")
            page.click(".k-auto")
            self.assertUsable(visit, "dialog")
            asked = page.inner_text("dialog")
            self.assertIn(page.inner_text("h1"), asked)
            self.assertIn(hostid, asked)
            self.assertIn("Send Auto", asked)
            page.keyboard.press("Enter")  # the focus is on "Cancel"
            visit.until("!document.querySelector('dialog')", "it is cancelled")
            self.assertNotIn("Auto", page.inner_text(".outcome"))
            page.click(".k-auto")
            page.click("dialog .primary")
            page.locator(".outcome .o-yes", has_text="Done").wait_for()
            page.locator(".outcome .o-yes", has_text=re.compile("^ *Confirmed")).wait_for()
            page.wait_for_selector(".k-auto[data-on]")
            page.click("#tab-commands")
            first = page.locator("#panel-commands tbody tr").first
            first.locator("text=Confirmed").wait_for()
            self.assertIn("the-operator", first.inner_text())
            self.assertClean(visit)

    def test_acknowledges_an_alarm(self) -> None:
        self.world.device_with_alarm()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).open("#/alarms").page
            button = page.locator(".alarm button").first
            button.wait_for()
            number = page.locator(".alarm", has=page.locator("button")).first.get_attribute("data-number")
            page.locator(f'.alarm[data-number="{number}"] button').click()
            page.locator(f'.alarm[data-number="{number}"] .tag', has_text="token the-operator").wait_for()
            self.assertClean(visit)

    def test_counts_alarms_of_all_on_the_page_of_one(self) -> None:
        with_alarm = self.world.device_with_alarm()
        other = next(one["hostid"] for one in self.world.devices() if one["hostid"] != with_alarm)
        with self.visitor.visit() as visit:
            page = visit.open(f"/#/devices/{other}").sign_in(self.world.tokens["viewer"]).page
            page.wait_for_selector("h1")
            visit.until("Number(document.querySelector('.badge').textContent) > 0", "alarms of others")
            page.wait_for_selector(".badge:not([hidden])")
            self.assertClean(visit)

    def test_sees_a_chart(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).open(f"#/devices/{self.host(1)}/charts").page
            drawn = "(one) => one.getAttribute('d').includes('L')"
            line = f"[...document.querySelectorAll('.plot path.js-line')].some({drawn})"
            visit.until(line, "a line")
            self.assertIn("readings", page.inner_text("#panel-charts [role=status]"))
            page.click("text=Choose points")
            page.locator(".boxes label", has_text="Oil pressure").first.click()
            page.locator(".plot .legendtext", has_text="Oil pressure").wait_for()
            self.assertIn("oil_pressure", page.url)
            page.click("text=Choose points")
            page.click("text=As a table")
            page.locator(".as-table tbody tr").first.wait_for()
            page.click(".segments >> text=Week")
            page.click(".segments >> text=Custom")
            page.click(".custom button")
            visit.until("document.querySelector('.plot .points path')", "points")
            with page.expect_download() as download:
                page.click("text=Download CSV")
            self.assertIn("oil_pressure", Path(download.value.path()).read_text(encoding="utf-8").splitlines()[0])
            self.assertClean(visit)

    def test_a_viewer_may_only_look(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).open(f"#/devices/{self.host(0)}").page
            page.wait_for_selector(".k-auto[aria-disabled=true]")
            self.assertIn("role operator", page.inner_text(".why"))
            page.click(".k-auto", force=True)
            self.assertEqual(page.locator("dialog").count(), 0)
            page.click("#tab-settings")
            self.assertTrue(page.is_disabled("#set-history_interval"))
            self.assertClean(visit)

    def test_settings(self) -> None:
        hostid = self.host(8)
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["admin"]).open(f"#/devices/{hostid}/settings").page
            for value, kept in (("30", 30), ("", None)):
                page.fill("#set-history_interval", value)
                page.click("#panel-settings [type=submit]")
                until(lambda kept=kept: self.history_interval(hostid) == kept, "it is kept")  # type: ignore[misc]
                page.locator("#panel-settings [role=status]", has_text="Saved").wait_for()
            page.fill("#set-history_interval", "0")
            page.click("#panel-settings [type=submit]")
            self.assertIsNone(self.history_interval(hostid), "the form takes what cannot be")
            self.assertClean(visit)

    def history_interval(self, hostid: str) -> object:
        return self.world.ask("GET", f"/devices/{hostid}")["settings"]["history_interval"]

    def test_by_keyboard(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).page
            visit.until(f"document.querySelectorAll('.rows .row').length === {DEVICES}", "all rows")
            page.focus(".rows .row a")
            page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowDown")
            second = "document.activeElement.closest('[role=row]').getAttribute('aria-rowindex')"
            self.assertEqual(page.evaluate(second), "4")
            page.keyboard.press("Enter")
            page.wait_for_selector("[role=tab][aria-selected=true]")
            page.focus("#tab-values")
            for _ in TABS:
                page.keyboard.press("ArrowRight")
            self.assertEqual(page.evaluate("document.activeElement.id"), "tab-values")
            page.keyboard.press("End")
            page.wait_for_selector("#panel-raw table")
            self.assertTrue(page.url.endswith("/raw"))
            self.assertClean(visit)

    def test_in_chinese(self) -> None:
        with self.visitor.visit(locale="zh-CN") as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            self.assertEqual(page.get_attribute("html", "lang"), "zh-CN")
            visit.open(f"#/devices/{self.host(0)}")
            page.locator("h2", has_text="单线图").wait_for()
            page.locator("th", has_text="发电频率").wait_for()
            page.click(".menu-button")
            page.select_option("#menu-language", "en")
            page.locator("h2", has_text="One-line diagram").wait_for()
            self.assertClean(visit)


class PagesTests(ConsoleTestCase):
    """Every page, in every width, light and dark."""

    def places(self) -> dict[str, str]:
        hostid = self.world.device_with_alarm()
        device = {f"device-{tab}": f"#/devices/{hostid}/{tab}" for tab in TABS}
        return {"fleet": "#/", **device, "alarms": "#/alarms", "alarms-all": "#/alarms?show=all", "map": "#/map"}

    def ready(self, visit: Visit, name: str) -> None:
        wanted = {"fleet": ".rows .row", "map": ".mark", "device-charts": ".plot .main-svg", "device-raw": ".registers"}
        default = ".alarm-list li" if name.startswith("alarms") else "[role=tabpanel]:not([hidden])"
        visit.page.wait_for_selector(wanted.get(name, default))
        visit.page.wait_for_timeout(300)

    def test_usable(self) -> None:
        for scheme in ("light", "dark"):
            for width in ("phone", "desk"):
                with self.visitor.visit(width, color_scheme=scheme) as visit:
                    visit.open().sign_in(self.world.tokens["admin"])
                    for name, place in self.places().items():
                        visit.open(place)
                        self.ready(visit, name)
                        self.assertUsable(visit, f"{name}, {scheme}, {width}")
                    self.assertClean(visit)

    def test_pictures(self) -> None:
        folder = Path("screenshots").absolute()  # trial's own folder is where we are
        folder.mkdir(exist_ok=True)
        for width in WIDTHS:
            for scheme, locale in (("light", "en-US"), ("dark", "zh-CN")):
                with self.visitor.visit(width, color_scheme=scheme, locale=locale, reduced_motion="reduce") as visit:
                    visit.open().sign_in(self.world.tokens["admin"])
                    for name, place in self.places().items():
                        visit.open(place)
                        self.ready(visit, name)
                        picture = folder / f"{name}-{width}-{scheme}.png"
                        visit.page.screenshot(path=picture, full_page=name != "map")
                        self.assertGreater(picture.stat().st_size, 10_000)
                        wide = visit.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                        self.assertLessEqual(wide, 0, f"{name} is wider than the {width}")


def _answering(**answer: Any) -> Callable[[Route], None]:
    return lambda route: route.fulfill(**answer)


def _holding(held: list[Route]) -> Callable[[Route], None]:
    def hold(route: Route) -> None:
        held.append(route)

    return hold


class TroubleTests(ConsoleTestCase):
    """When something is not as it should be, people see it."""

    devices = 2

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
        hostid = self.host(1)
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
                page.route(posts, _answering(status=status, content_type=kind, body=body))
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
        hostid = self.host(1)
        self.world.send(hostid, "auto")
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
            sent: list[Any] = []
            page.route("**/api/v1/devices/*/commands", lambda route: sent.append(route.request.post_data_json))
            page.click(".k-manual")
            page.click("dialog .primary")
            began = time.time()
            page.locator(".outcome .tag", has_text="not known").wait_for()
            self.assertLess(time.time() - began, 12)
            self.assertLess(abs(sent[0]["not_after"] / 1000 - began - 10), 2)

    def test_a_command_without_an_answer_is_found_by_its_key(self) -> None:
        hostid = self.host(1)
        posts = "**/api/v1/devices/*/commands"
        with self.visitor.visit() as visit:
            page = self.device_page(visit, 1)
            page.route(posts, _answering(status=502, body="no"))
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
            self.assertGreater(page.locator("tr[data-quality=good]").count(), 10)
            page.click(".k-manual")
            page.wait_for_selector("dialog .primary:not([disabled])")
            page.route(lives, _answering(status=502, body="no"))
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
            page.route("**/api/v1/alarms*", _answering(status=502, body="no"))
            page.route("**/api/v1/status", _answering(status=502, body="no"))
            page.evaluate("location.hash = '#/devices/' + document.querySelector('.rows a').href.split('/').pop()")
            page.reload()
            page.locator(".alarms-unknown", has_text="Refused").wait_for()
            self.assertFalse(page.get_by_text("No alarm is open").is_visible())
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
            page.route("**/api/v1/controllers", _answering(status=200, content_type="application/json", body="[]"))
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
            bad = _answering(status=200, content_type="text/event-stream", body="event: live\ndata: {what\n\n")
            page.route("**/api/v1/events?*", bad)
            page.reload()
            visit.until("document.body.dataset.link === 'lost'", "it says so")
            page.unroute("**/api/v1/events?*")
            visit.until("document.body.dataset.link === 'live'", "the stream again")


class SilentTests(ConsoleTestCase):
    """A module that does not answer orders."""

    devices = 1
    options = ("--misbehave", "silent")

    def test_nobody_knows(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).open(f"#/devices/{self.host(0)}/commands").page
            page.click(".k-manual")
            page.click("dialog .primary")
            page.locator(".outcome .o-unknown", has_text="Outcome unknown: no answer").wait_for()
            said = page.inner_text(".outcome")
            self.assertIn("Nobody knows whether it was done", said)
            self.assertNotIn("fail", said.lower())
            page.locator("#panel-commands .tag.o-unknown").wait_for()
            self.assertUsable(visit, "outcome unknown")
            self.assertClean(visit)


class ModuleTests(ConsoleTestCase):
    """Modules that need no page."""

    devices = 0

    def test_an_engine_that_is_cranked_does_not_stand(self) -> None:
        script = "(module, cases) => cases.map(([running, speed]) => module.turns(running, speed))"
        cases = [[True, None], [False, 184], [False, 0], [False, None], [None, 551], [None, None]]
        wanted = [True, True, False, False, True, None]
        self.assertEqual(self.run_module("device/diagram.js", script, cases), wanted)

    def test_events_cut_out_of_a_stream(self) -> None:
        text = ': hello\n\nid: 1-2\nevent: live\ndata: {"a":\ndata: 1}\n\ndata:x\r\n\r\nevent: empty\n\n'
        wanted = [
            {"event": "live", "data": '{"a":\n1}', "id": "1-2"},
            {"event": "message", "data": "x", "id": "1-2"},
        ]
        script = """({Cutter}, text, sizes) => sizes.map((size) => {
            const cutter = new Cutter(); const all = [];
            for (let at = 0; at < text.length; at += size) all.push(...cutter.take(text.slice(at, at + size)));
            return all; })"""
        self.assertEqual(self.run_module("stream.js", script, text, [1, 2, 3, 7, 1000]), [wanted] * 5)

    def test_rows_cut_out_of_an_answer(self) -> None:
        text = r'{"columns":["a"],"now":5,"rows":[["x],[\"\\"],["{[",null,[1]],[2]]}'
        wanted = [['x],["\\'], ["{[", None, [1]], [2]]
        script = """({RowCutter}, text, sizes) => sizes.map((size) => {
            const cutter = new RowCutter(); const all = [];
            for (let at = 0; at < text.length; at += size) all.push(...cutter.take(text.slice(at, at + size)));
            return [cutter.head.now, cutter.whole, all]; })"""
        found = self.run_module("rowcutter.js", script, text, [1, 2, 3, 5, 1000])
        self.assertEqual(found, [[5, True, wanted]] * 5)
        broken = self.run_module("rowcutter.js", script, text[:-2], [1000])
        self.assertEqual(broken, [[5, False, wanted]])

    def test_the_map(self) -> None:
        script = """({View, project, unproject, scaleBar, clusters}) => {
            const view = new View(); view.width = 800; view.height = 600;
            const places = [[10, 50], [10.0001, 50], [120, 30]].map((place) => project(...place));
            view.fit(places);
            const within = ([x, y]) => x > 0 && x < 800 && y > 0 && y < 600;
            const seen = places.map((place) => view.at(...place)).every(within);
            const near = clusters(places.map(([x, y]) => ({x, y})), view).map((one) => one.members.length).sort();
            const [x, y] = view.under(100, 100); view.zoomBy(2, 100, 100); const [x2, y2] = view.under(100, 100);
            return {there: unproject(...project(10, 50)).map((one) => Math.round(one * 1e6)), seen, near,
                    stays: Math.hypot(x - x2, y - y2) < 1e-9, bar: scaleBar(7.3, 130).metres,
                    poles: project(0, 90)[1] >= 0 && project(0, -90)[1] <= 1.0000001}; }"""
        self.assertEqual(
            self.run_module("map/projection.js", script),
            {"there": [10_000_000, 50_000_000], "seen": True, "near": [1, 2], "stays": True, "bar": 500, "poles": True},
        )


class ManyTests(ConsoleTestCase):
    """Thousands of devices."""

    devices = 0

    def test_first_rows(self) -> None:
        self.world.daemon.terminate()
        with sqlite3.connect(self.world.daemon.state / "cmmd.sqlite") as database:
            database.executemany(
                "INSERT INTO device (hostid, hostname, wgs84_longitude, wgs84_latitude, moduletype, enabled,"
                " registered_at) VALUES (?, ?, ?, ?, 'HGM6120N', 1, 0)",
                [(f"{n:024X}", f"Genset {n}", n % 360 - 180, n % 120 - 60) for n in range(MANY)],
            )
        database.close()
        self.world.start()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            page.wait_for_selector(".rows .row")
            began = time.monotonic()
            page.reload(wait_until="commit")
            page.wait_for_selector(".rows .row .c-name a:not(:empty)")
            took = time.monotonic() - began
            visit.until("document.querySelector('.shown').textContent === '5,000 devices'", "all of them")
            self.assertLess(took, FIRST_ROWS_S)
            self.assertLess(page.locator(".rows .row").count(), 60, "rows out of sight exist")
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.locator(".rows a", has_text=re.compile("^Genset 4999$")).wait_for()
            page.fill("#q", "genset 4321")
            visit.until("document.querySelector('.shown').textContent === '1 of 5,000 devices'", "the one")
            visit.open("#/map")
            page.wait_for_selector(".mark.cluster")
            self.assertLess(page.locator(".mark").count(), 400)
            self.assertClean(visit)


SLOW_ALARMS = """
    const real = window.fetch;
    window.asked = 0;
    window.answered = 0;
    window.slow = 0;
    window.fetch = async (url, options = {}) => {
        if (!String(url).includes('/api/v1/alarms?')) return real(url, options);
        window.asked++;
        await new Promise((resolve, reject) => {
            setTimeout(resolve, window.slow);
            options.signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
        });
        const answer = await real(url, options);
        window.answered++;
        return answer;
    };
"""

OWN_STREAM = """
    const before = window.fetch;
    window.fetch = async (url, options = {}) => {
        if (!String(url).includes('/api/v1/events?')) return before(url, options);
        const {columns, now} = await (await before('/api/v1/fleet')).json();
        const coder = new TextEncoder();
        const body = new ReadableStream({start(stream) {
            const text = (name, data) => `event: ${name}\\ndata: ${JSON.stringify(data)}\\n\\n`;
            window.tell = (name, data) => stream.enqueue(coder.encode(text(name, data)));
            window.tell('ready', {now, columns});
        }});
        return new Response(body, {headers: {'Content-Type': 'text/event-stream'}});
    };
    window.change = async (hostid, changes) => {
        const {columns, rows} = await (await before('/api/v1/fleet')).json();
        const row = rows.find((one) => one[columns.indexOf('hostid')] === hostid);
        for (const [name, value] of Object.entries({upload: 1e9, ...changes})) row[columns.indexOf(name)] = value;
        window.tell('live', {rows: [row]});
    };
"""

HAPPENING = """setInterval(() => window.tell('event',
    {number: 1, at: Date.now(), hostid: 'x', kind: 'alarm_raised', details: {severity: 'alarm', title: 'x'}}), 500)"""


class AlarmPageTests(ConsoleTestCase):
    """No alarm is hidden, whatever happens and however many there are."""

    devices = 2
    alarms = "**/api/v1/alarms?*"
    note = "main > p[role=status]"

    def said(self, visit: Visit, text: str) -> None:
        visit.page.locator(self.note, has_text=text).wait_for()

    def test_no_alarm_is_open_only_if_somebody_has_said_so(self) -> None:
        self.world.device_with_alarm()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            held: list[Route] = []
            page.route(self.alarms, _holding(held))
            visit.open("#/alarms")
            self.said(visit, "Loading")
            page.wait_for_timeout(2500)
            self.said(visit, "Loading")
            self.assertNotIn("No alarm", page.inner_text("main"))
            page.route(self.alarms, _answering(status=503, content_type="application/problem+json", body="{}"))
            held[0].fulfill(status=502, body="no")
            self.said(visit, "Refused")
            page.wait_for_timeout(2500)
            self.said(visit, "Refused")
            self.assertNotIn("No alarm", page.inner_text("main"))
            self.assertUsable(visit, "alarms that cannot be had")
            page.unroute(self.alarms)
            page.click("text=Try again")
            page.wait_for_selector(".alarm")
            self.said(visit, "open alarms")
            self.assertNotIn("Refused", page.inner_text("main"))

    def test_comes_back_by_itself(self) -> None:
        self.world.device_with_alarm()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            page.route(self.alarms, _answering(status=502, body="no"))
            visit.open("#/alarms")
            self.said(visit, "Refused")
            page.unroute(self.alarms)
            page.wait_for_selector(".alarm")

    def test_filters_that_fit_nothing(self) -> None:
        self.world.device_with_alarm()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).open("#/alarms").page
            page.wait_for_selector(".alarm")
            page.fill("#alarm-q", "zzz")
            page.locator(self.note, has_text=re.compile(r"^None of the \d[\d,]* open alarms fits")).wait_for()
            self.assertEqual(page.locator(".alarm").count(), 0)
            page.select_option("#seen", "no")
            page.fill("#alarm-q", "")
            page.wait_for_selector(".alarm")
            self.said(visit, "fit these filters")
            self.assertIn("seen=no", page.url)
            self.assertUsable(visit, "filtered alarms")
            self.assertClean(visit)

    def test_open_ones_are_not_shown_as_all(self) -> None:
        self.world.device_with_alarm()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).open("#/alarms").page
            page.wait_for_selector(".alarm")
            held: list[Route] = []
            page.route(self.alarms, _holding(held))
            page.click("[data-name=all]")
            self.said(visit, "Loading")
            page.wait_for_timeout(1500)
            self.assertEqual(page.locator(".alarm").count(), 0)
            held[0].continue_()
            page.wait_for_selector(".alarm")
            self.assertClean(visit)

    def test_much_happens_and_answers_are_slow(self) -> None:
        self.world.device_with_alarm()
        with self.visitor.visit() as visit:
            visit.page.add_init_script(SLOW_ALARMS)
            visit.page.add_init_script(OWN_STREAM)
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            page.evaluate("window.slow = 3000")
            visit.open("#/alarms")
            visit.until("!!window.tell", "the stream")
            page.evaluate(HAPPENING)
            page.wait_for_selector(".alarm")
            visit.until("window.answered >= 2", "another answer")
            asked, answered = page.evaluate("[window.asked, window.answered]")
            self.assertLessEqual(asked - answered, 1, "requests were given up")
            self.assertClean(visit)

    def test_the_worst_of_thousands(self) -> None:
        self.world.daemon.terminate()
        with sqlite3.connect(self.world.daemon.state / "cmmd.sqlite") as database:
            first = database.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM alarm").fetchone()[0]
            for place in range(6001):
                database.execute(
                    "INSERT INTO alarm (number, hostid, signal, title, severity, raised_at) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        first + place,
                        f"many{place}",
                        "old_shutdown" if place == 0 else "low_fuel",
                        "Old shutdown" if place == 0 else "Low fuel",
                        "shutdown" if place == 0 else "warning",
                        1_000_000_000_000 + place,
                    ),
                )
        database.close()
        self.world.start()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).open("#/alarms").page
            page.locator(".alarm", has_text="Old shutdown").wait_for()
            self.assertRegex(page.inner_text(self.note), r"^6,0\d\d open alarms · the 150 most urgent are shown$")
            page.click("text=Show more")
            self.said(visit, "the 300 most urgent")
            self.assertEqual(page.locator(".alarm").count(), 300)
            page.fill("#alarm-q", "many77 fuel")
            self.said(visit, "11 open alarms fit")
            page.fill("#alarm-q", "")
            page.click("[data-name=all]")
            page.select_option("#severity", "shutdown")
            page.locator(".alarm", has_text="Old shutdown").wait_for()
            self.assertClean(visit)

    def test_why_in_chinese(self) -> None:
        self.world.device_with_alarm()
        with self.visitor.visit(locale="zh-CN") as visit:
            page = visit.open().sign_in(self.world.tokens["operator"]).open("#/alarms").page
            body = '{"code": "no_such_alarm", "detail": "no alarm 7 is open"}'
            answer = _answering(status=404, content_type="application/problem+json", body=body)
            page.route("**/acknowledge", answer)
            page.locator(".alarm button").first.click()
            page.locator(".alarm .wrong", has_text="被拒绝：此报警已不存在或已消除").wait_for()

    def test_a_device_on_the_map_moves(self) -> None:
        hostid = self.host(0)
        with self.visitor.visit() as visit:
            visit.page.add_init_script(OWN_STREAM)
            page = visit.open().sign_in(self.world.tokens["viewer"]).open("#/map?at=-40,20,6").page
            visit.until("!!window.tell", "the stream")
            self.said_on_map = page.locator(".map-foot p", has_text="of 2 devices")
            self.said_on_map.wait_for()
            self.assertEqual(page.locator(".mark").count(), 0)
            page.evaluate("([hostid, to]) => change(hostid, to)", [hostid, {"longitude": 20, "latitude": -40}])
            page.wait_for_selector(".mark")
            page.evaluate("([hostid, to]) => change(hostid, to)", [hostid, {"longitude": None, "latitude": None}])
            visit.until("!document.querySelector('.mark')", "it is gone")
            page.locator(".map-foot p", has_text="1 of 2 devices").wait_for()
            self.assertClean(visit)

    def test_order_under_a_pointer_that_rests(self) -> None:
        hostids = sorted(self.host(place) for place in range(2))
        with self.visitor.visit() as visit:
            visit.page.add_init_script(OWN_STREAM)
            page = visit.open("/#/?sort=-fuel").sign_in(self.world.tokens["viewer"]).page
            visit.until("!!window.tell && document.querySelectorAll('.rows .row').length === 2", "the rows")
            self.change(visit, hostids[0], fuel=90, state="running", alarms=0, severity=None)
            self.change(visit, hostids[1], fuel=80, state="running", alarms=0, severity=None)
            self.first(visit, hostids[0])
            page.hover(".rows .row")
            page.mouse.move(400, 500)
            page.hover(".rows .row")
            self.change(visit, hostids[1], fuel=95, state="running", alarms=0, severity=None)
            page.wait_for_timeout(2000)
            self.assertTrue(self.is_first(visit, hostids[0]), "it jumps under the pointer")
            self.first(visit, hostids[1])
            page.hover(".rows .row:nth-child(2)")
            began = time.monotonic()
            self.change(visit, hostids[0], fuel=99, state="alarm", alarms=3, severity="shutdown")
            self.first(visit, hostids[0])
            self.assertLess(time.monotonic() - began, 3)
            self.assertClean(visit)

    def change(self, visit: Visit, hostid: str, **changes: object) -> None:
        """Have a row of the fleet change."""
        visit.page.evaluate("([hostid, to]) => change(hostid, to)", [hostid, changes])

    def is_first(self, visit: Visit, hostid: str) -> bool:
        return hostid in (visit.page.locator(".rows .row a").first.get_attribute("href") or "")

    def first(self, visit: Visit, hostid: str) -> None:
        visit.until(f"document.querySelector('.rows .row a').href.endsWith('{hostid}')", f"{hostid} is the first")

    def test_older_events_stay(self) -> None:
        """Numbers of one device are far apart."""
        script = """async ({Pages}) => {
            let last = 1400;
            const fetch = async ({limit, after}) => {
                const records = [];
                const first = after ?? last;
                for (let number = first; number > 0 && records.length < limit; number -= 7) records.push({number});
                const next = records.at(-1).number - 7;
                return {records, next: records.length === limit && next > 0 ? next : null};
            };
            const row = ({number}) => Object.assign(document.createElement("tr"), {textContent: number});
            const pages = new Pages({fetch, row, heads: ["a"], label: "a", nothing: "none"});
            const all = () => [...pages.body.children].map((one) => Number(one.textContent));
            const turn = () => new Promise((resolve) => setTimeout(resolve, 50));
            const seen = [];
            await pages.refresh();
            pages.more.click();
            await turn();
            seen.push(all().length);
            last += 14;
            await pages.refresh();
            seen.push(all().length, all()[0], all().at(-1));
            pages.more.click();
            await turn();
            seen.push(all().length);
            last += 700;
            await pages.refresh();
            seen.push(all().length);
            return seen; }"""
        with self.visitor.visit() as visit:
            page = visit.open().page
            base = page.get_attribute('meta[name="cmmd-static"]', "content")
            seen = page.evaluate(f"async () => ({script})(await import('{base}js/device/log.js'))")
        self.assertEqual(seen, [100, 102, 1414, 707, 152, 50])


WORST: dict[str, Any] = {"mains_voltage_l1_n": 234.0, "mains_voltage_l2_n": 9.0, "mains_voltage_l3_n": 231.0}
"""Of points: a phase of the mains is missing."""


def _worst(route: Route) -> None:
    """A live record in which everything is wrong that can be."""
    answer = route.fetch()
    live = answer.json()
    for signal in live["signals"]:
        signal["active"] = signal["severity"] in ("shutdown", "alarm", "warning")
    for point in live["points"]:
        point["value"] = WORST.get(point["name"], point["value"])
    route.fulfill(response=answer, json=live)


OUTSIDE = """() => {
    const seen = (one) => one.checkVisibility() && !one.closest('.hidden') && !one.closest('svg svg');
    const out = [];
    for (const card of document.querySelectorAll('.card, .gauge')) {
        const {left, right, top, bottom} = card.getBoundingClientRect();
        for (const one of card.querySelectorAll('*')) {
            const box = one.getBoundingClientRect();
            if (!seen(one) || !box.width || one.closest('svg, select') && one.localName !== 'svg') continue;
            if (box.left < left - 1 || box.right > right + 1 || box.top < top - 1 || box.bottom > bottom + 1)
                out.push(`${card.className}: ${one.localName} ${one.className} ${one.textContent.slice(0, 40)}`);
        }
    }
    return out; }"""

OVERPRINTED = """() => {
    const svg = document.querySelector('.diagram svg').getBoundingClientRect();
    const all = [...document.querySelectorAll('.diagram g[text-anchor], .diagram .plate')];
    const boxes = all.map((one) => [one, one.getBoundingClientRect()]);
    const out = [];
    boxes.forEach(([one, a], place) => {
        if (a.left < svg.left || a.right > svg.right || a.bottom > svg.bottom) out.push(`${one.textContent} outside`);
        for (const [other, b] of boxes.slice(place + 1))
            if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
                out.push(`${one.textContent || 'plate'} / ${other.textContent || 'plate'}`);
    });
    return out; }"""

LIVE = re.compile(r"/devices/[^/]+/live")


class LayoutTests(ConsoleTestCase):
    """Nothing lies upon anything else, or out of sight."""

    devices = 2

    def assertFits(self, visit: Visit, where: str) -> None:
        """All is in its card, and the page does not scroll sideways."""
        self.assertEqual(visit.page.evaluate(OUTSIDE), [], where)
        self.assertLessEqual(visit.page.evaluate("document.scrollingElement.scrollWidth - innerWidth"), 0, where)

    def test_phone(self) -> None:
        """A device on which all is wrong; one that is offline; a phase is missing."""
        hostid = self.host(0)
        self.addCleanup(self.world.begin_fleet, self.devices)
        for locale in ("en-US", "zh-CN"):
            with self.visitor.visit("phone", locale=locale) as visit:
                page = visit.open().sign_in(self.world.tokens["admin"]).page
                for state in ("worst", "offline"):
                    if state == "worst":
                        page.route(LIVE, _worst)
                        visit.open(f"#/devices/{hostid}")
                        page.wait_for_selector(".gauge[data-severity] .note svg")
                        page.locator(".diagram text", has_text="9–234 V").wait_for()
                    else:
                        page.unroute(LIVE)
                        self.world.end_fleet()
                        page.wait_for_selector(".breaker[data-closed=unknown]")
                        page.wait_for_selector(".gauge[data-quality=stale] .note svg")
                    for tab in TABS:
                        page.click(f"#tab-{tab}")
                        page.wait_for_timeout(200)
                        self.assertFits(visit, f"{state}, {tab}, {locale}")
                    for width in (320, 390, 600, 1280):
                        page.set_viewport_size({"width": width, "height": 844})
                        page.wait_for_timeout(200)
                        self.assertEqual(page.evaluate(OVERPRINTED), [], f"{state}, {width}, {locale}")
                        self.assertFits(visit, f"{state}, {width}, {locale}")
                    page.set_viewport_size({"width": 390, "height": 844})
                self.assertClean(visit)
            if locale == "en-US":
                self.world.begin_fleet(self.devices)

    def test_the_tab_of_the_address_is_in_sight(self) -> None:
        with self.visitor.visit("phone") as visit:
            page = visit.open(f"/#/devices/{self.host(0)}/charts").sign_in(self.world.tokens["viewer"]).page
            page.wait_for_selector(".plot .main-svg")
            for tab in TABS:
                box = page.locator(f"#tab-{tab}").bounding_box()
                assert box is not None
                self.assertTrue(box["x"] >= 0 and box["x"] + box["width"] <= 390 and 0 <= box["y"] < 844 / 2, tab)
            self.assertClean(visit)

    def test_points_are_chosen_by_group(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open(f"/#/devices/{self.host(0)}/charts").sign_in(self.world.tokens["viewer"]).page
            page.click("text=Choose points")
            self.assertEqual(page.locator(".boxes legend").all_inner_texts()[:3], ["Mains", "Generator", "Power"])
            while page.locator(".boxes input:checked").count() < 8:
                page.locator(".boxes input:not(:checked)").first.check()
            self.assertIn("8 of at most 8", page.inner_text(".taken"))
            self.assertEqual(page.locator(".boxes input:not(:checked):enabled").count(), 0)
            self.assertUsable(visit, "points to choose")
            page.locator(".boxes input:checked").first.uncheck()
            self.assertGreater(page.locator(".boxes input:not(:checked):enabled").count(), 10)
            self.assertClean(visit)

    def test_gaps(self) -> None:
        script = """({longestStep, stretches}, seconds, width, interval) => {
            const counts = Array(Math.ceil(3600 / width)).fill(0);
            for (const at of seconds) counts[Math.floor(at / width)]++;
            const given = counts.map((count) => count || null);
            const all = stretches(given, counts, longestStep({counts, width}, interval));
            return all.map((one) => [one[0], one.at(-1)]); }"""
        steady = [n * 62 for n in range(58)]
        clusters = [start + n for start in (200, 900, 1500, 2800) for n in range(0, 55, 2)]
        for width in (1, 9, 90):
            whole = [[0, 57 * 62 // width]]
            for seconds in (steady, steady + clusters):
                self.assertEqual(self.run_module("device/figure.js", script, seconds, width, None), whole)
        away = [at for at in steady + clusters if not 1700 < at < 2700]
        found = self.run_module("device/figure.js", script, away, 9, None)
        self.assertEqual(found, [[0, 27 * 62 // 9], [44 * 62 // 9, 57 * 62 // 9]])
        few = [0, 60, 120, 1800, 3500]
        for interval, pieces in ((None, 3), (60, 3), (900, 1)):
            found = self.run_module("device/figure.js", script, few, 9, interval)
            self.assertEqual(len(found), pieces, interval)
        unknown = "({stretches}) => stretches([1, 2, null, 4, 5], [1, 1, 1, 1, 1], 3)"
        self.assertEqual(self.run_module("device/figure.js", unknown), [[0, 1], [3, 4]])

    def test_bands(self) -> None:
        script = "({band}) => band([1, 2, 3, 4], [5, 6, 7, 8], [[0, 1], [3]])"
        self.assertEqual(
            self.run_module("device/figure.js", script),
            [[0, 5], [1, 6], [1, 2], [0, 1], [0, 5], None, [2.5, 8], [3.5, 8], [3.5, 4], [2.5, 4], [2.5, 8]],
        )

    def test_voltages(self) -> None:
        script = "({voltage}, all) => all.map((one) => [voltage(one, false), voltage(one, true)])"
        cases = [[230, 231, 229], [234, 9, 231], [234, None, 231], [None, None], [], [0, 3, 1], [230]]
        self.assertEqual(
            self.run_module("device/diagram.js", script, cases),
            [
                ["231 V"] * 2,
                ["234 / 9 / 231 V", "9–234 V"],
                ["234 / ? / 231 V", "234 / ? V"],
                ["? V"] * 2,
                ["? V"] * 2,
                ["3 V"] * 2,
                ["230 V"] * 2,
            ],
        )
