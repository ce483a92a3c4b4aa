"""The console on small screens, and its charts."""

import re
from typing import Any

from playwright.sync_api import Route

from tests_system.browser import Visit
from tests_system.console_case import TABS, ConsoleTestCase

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
            for tab in TABS:  # the page may take a moment until it has settled around the charts
                page.wait_for_function(
                    """id => {
                        const box = document.getElementById(id).getBoundingClientRect();
                        return box.left >= 0 && box.right <= 390 && box.top >= 0 && box.top < 844 / 2;
                    }""",
                    arg=f"tab-{tab}",
                )
            self.assertClean(visit)

    def test_points_are_chosen_by_group(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open(f"/#/devices/{self.host(0)}/charts").sign_in(self.world.tokens["viewer"]).page
            page.click("text=Choose values")
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
