"""The console on a usual day: what people of each role do, on every page."""

import re
from pathlib import Path

from tests.daemon import until
from tests_system.browser import Visit
from tests_system.console_case import DEVICES, TABS, ConsoleTestCase

EMPTY_BYTES = 5000
"""More than the picture of a page without anything on it has."""


class DayTests(ConsoleTestCase):
    """What an operator does."""

    stage = "day"

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

    def test_the_state_is_told_from_the_start(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            for device in self.world.devices():
                visit.open(f"#/devices/{device['hostid']}")
                page.locator("h1", has_text=device["hostname"]).wait_for()
                state = page.locator(".chip").first
                state.wait_for()
                self.assertNotIn("undefined", state.inner_text())
            self.assertClean(visit)

    def test_sees_a_chart(self) -> None:
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).open(f"#/devices/{self.host(1)}/charts").page
            drawn = "(one) => one.getAttribute('d').includes('L')"
            line = f"[...document.querySelectorAll('.plot path.js-line')].some({drawn})"
            visit.until(line, "a line")
            self.assertIn("readings", page.inner_text("#panel-charts [role=status]"))
            page.click("text=Choose values")
            page.locator(".boxes label", has_text="Oil pressure").first.click()
            page.locator(".plot .legendtext", has_text="Oil pressure").wait_for()
            self.assertIn("oil_pressure", page.url)
            page.click("text=Choose values")
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
            page.fill("#set-read_as", "scale=tenths")
            page.click("#panel-settings [type=submit]")
            page.locator("#panel-settings dd", has_text="scale: tenths").wait_for()
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


class CommandsTests(ConsoleTestCase):
    """What an operator has gensets do. Nothing else changes their state: that would take a question back."""

    options = ("--calm",)

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


class PagesTests(ConsoleTestCase):
    """Every page, in every width, light and dark."""

    stage = "day"

    def places(self) -> dict[str, str]:
        hostid = self.world.device_with_alarm()
        device = {f"device-{tab}": f"#/devices/{hostid}/{tab}" for tab in TABS}
        return {"fleet": "#/", **device, "alarms": "#/alarms", "alarms-all": "#/alarms?show=all", "map": "#/map"}

    def ready(self, visit: Visit, name: str) -> None:
        wanted = {"fleet": ".rows .row", "map": ".mark", "device-charts": ".plot .main-svg", "device-raw": ".registers"}
        alarms = ".alarm-list li, main > p[role=status]"  # what was open may be over meanwhile
        default = alarms if name.startswith("alarms") else "[role=tabpanel]:not([hidden])"
        visit.page.wait_for_selector(wanted.get(name, default))
        visit.page.wait_for_timeout(300)

    def check_usable(self, width: str, scheme: str) -> None:
        with self.visitor.visit(width, color_scheme=scheme) as visit:
            visit.open().sign_in(self.world.tokens["admin"])
            for name, place in self.places().items():
                visit.open(place)
                self.ready(visit, name)
                self.assertUsable(visit, f"{name}, {scheme}, {width}")
            self.assertClean(visit)

    def test_usable_phone_light(self) -> None:
        self.check_usable("phone", "light")

    def test_usable_phone_dark(self) -> None:
        self.check_usable("phone", "dark")

    def test_usable_desk_light(self) -> None:
        self.check_usable("desk", "light")

    def test_usable_desk_dark(self) -> None:
        self.check_usable("desk", "dark")

    def check_pictures(self, width: str) -> None:
        folder = Path("screenshots").absolute()  # trial has made its own folder the current one
        folder.mkdir(exist_ok=True)
        for scheme, locale in (("light", "en-US"), ("dark", "zh-CN")):
            with self.visitor.visit(width, color_scheme=scheme, locale=locale, reduced_motion="reduce") as visit:
                visit.open().sign_in(self.world.tokens["admin"])
                for name, place in self.places().items():
                    visit.open(place)
                    self.ready(visit, name)
                    picture = folder / f"{name}-{width}-{scheme}.png"
                    visit.page.screenshot(path=picture, full_page=name != "map")
                    self.assertGreater(picture.stat().st_size, EMPTY_BYTES)
                    wide = visit.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    self.assertLessEqual(wide, 0, f"{name} is wider than the {width}")

    def test_pictures_phone(self) -> None:
        self.check_pictures("phone")

    def test_pictures_desk(self) -> None:
        self.check_pictures("desk")

    def test_pictures_wall(self) -> None:
        self.check_pictures("wall")
