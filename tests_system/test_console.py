"""The console as people meet it: a real daemon, simulated gensets, and Chromium."""

import atexit
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from playwright.sync_api import Route
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
            page.click(".banner.lost button")
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
