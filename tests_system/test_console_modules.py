"""Parts of the console by themselves, and with thousands of devices."""

import re
import sqlite3
import time

from tests_system.console_case import FIRST_ROWS_S, MANY, ConsoleTestCase


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
