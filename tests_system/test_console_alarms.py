"""The console's page of alarms: none is hidden."""

import re
import sqlite3
import time

from tests.daemon import DEADLINE_S
from tests_system.browser import Visit
from tests_system.console_case import ConsoleTestCase, answering

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


TRY_AGAIN = """
    for (const one of document.querySelectorAll("main button")) if (one.textContent === "Try again") one.click();
"""
"""The page tries by itself, too: by then the button may be gone."""


class AlarmPageTests(ConsoleTestCase):
    """No alarm is hidden, whatever happens and however many there are."""

    devices = 2
    at_once_s = DEADLINE_S
    alarms = "**/api/v1/alarms?*"
    note = "main > p[role=status]"

    def said(self, visit: Visit, text: str) -> None:
        visit.page.locator(self.note, has_text=text).wait_for()

    def test_no_alarm_is_open_only_if_somebody_has_said_so(self) -> None:
        self.world.device_with_alarm()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            with visit.holding(self.alarms) as held:
                visit.open("#/alarms")
                self.said(visit, "Loading")
                page.wait_for_timeout(2500)
                self.said(visit, "Loading")
                self.assertNotIn("No alarm", page.inner_text("main"))
                page.route(self.alarms, answering(status=503, content_type="application/problem+json", body="{}"))
                visit.until_held(held)
                held[0].fulfill(status=502, body="no")
            self.said(visit, "Refused")
            page.wait_for_timeout(2500)
            self.said(visit, "Refused")
            self.assertNotIn("No alarm", page.inner_text("main"))
            self.assertUsable(visit, "alarms that cannot be had")
            page.unroute(self.alarms)
            page.evaluate(TRY_AGAIN)
            page.wait_for_selector(".alarm")
            self.said(visit, "active alarms")
            self.assertNotIn("Refused", page.inner_text("main"))

    def test_comes_back_by_itself(self) -> None:
        self.world.device_with_alarm()
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            page.route(self.alarms, answering(status=502, body="no"))
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
            page.locator(self.note, has_text=re.compile(r"^None of the \d[\d,]* active alarms fits")).wait_for()
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
            with visit.holding(self.alarms) as held:
                page.click("[data-name=all]")
                self.said(visit, "Loading")
                page.wait_for_timeout(1500)
                self.assertEqual(page.locator(".alarm").count(), 0)
                visit.until_held(held)
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
            self.assertRegex(page.inner_text(self.note), r"^6,0\d\d active alarms · the 150 most urgent are shown$")
            page.click("text=Show more")
            self.said(visit, "the 300 most urgent")
            self.assertEqual(page.locator(".alarm").count(), 300)
            page.fill("#alarm-q", "many77 fuel")
            self.said(visit, "11 active alarms fit")
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
            answer = answering(status=404, content_type="application/problem+json", body=body)
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
            self.assertLess(time.monotonic() - began, self.at_once_s)
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
