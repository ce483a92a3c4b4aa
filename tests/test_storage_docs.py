"""docs/storage.md and etc/grafana/: their SQL is run, on a database as the daemon writes it."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any, cast

from msgspec.structs import replace
from twisted.internet import reactor as _reactor
from twisted.trial.unittest import TestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import PointColumn, ProfileVersion, Reading, Row
from tests.daemon import REPOSITORY
from tests.postgres import cluster
from tests.test_store_contract import ALARM, ENDED, PLAIN

reactor: Any = cast("Any", _reactor)

DOCUMENT = REPOSITORY / "docs" / "storage.md"
DASHBOARD = REPOSITORY / "etc" / "grafana" / "cmmd-postgresql.json"
PROFILE = load_catalog().for_moduletype("HGM6120N")
COLUMNS = tuple(
    PointColumn(name=point.name, title=point.title, unit=point.unit, decimals=point.decimals)
    for point in PROFILE.definition.points
)
HOURS = 40


def values(hour: int) -> tuple[float | None, ...]:
    """The points of a genset that has run so long: an hour of run time and five per cent of fuel an hour."""
    known: dict[str, float] = {
        "generator_frequency": 50.0,
        "run_time_hours": 1000 + hour,
        "run_time_minutes": 30,
        "fuel_level": 100 - 5 * (hour % 20),
        "active_power": 120.5,
    }
    return tuple(known.get(column.name) for column in COLUMNS)


def rows() -> Iterator[Row]:
    """Two gensets in the last days."""
    now = int(time.time() * 1000)
    yield ProfileVersion(number=1, name=PROFILE.name, fingerprint=PROFILE.fingerprint, points=COLUMNS)
    for device, hostid in enumerate(("A", "B")):
        for hour in range(HOURS):
            yield Reading(
                number=device * HOURS + hour + 1,
                hostid=hostid,
                at=now - 60_000 - (HOURS - hour) * 3_600_000 + 3_600_000,
                reason="interval",
                profile=1,
                image=b"",
                points=values(hour),
            )
        yield replace(ALARM, number=device + 1, hostid=hostid, raised_at=now - 7_200_000)
        yield replace(ENDED, number=device + 1, hostid=hostid, accepted_at=now - 3_600_000, ended_at=now)


class SqlTestCase(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.url = cluster().lend_store()
        self.addCleanup(cluster().take_back_store, self.url)
        store = PostgresStore(self.url, reactor)
        await store.open()
        for hostid, hostname in (("A", "Genset 1"), ("B", "Harbour-2")):
            await store.add_device(replace(PLAIN, hostid=hostid, hostname=hostname))
        await store.write(list(rows()))
        await store.close()

    def rows_of(self, statement: str) -> list[tuple[Any, ...]]:
        return cluster().execute(statement, self.url)


class DocumentTests(SqlTestCase):
    async def test_every_query_finds_something(self) -> None:
        self.addCleanup(cluster().execute, "DROP ROLE IF EXISTS grafana")
        blocks = re.findall(r"^```sql\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        self.assertGreater(len(blocks), 5)
        for block in blocks:
            found = self.rows_of(block)
            self.assertTrue(found or block.startswith("CREATE ROLE"), block)

    async def test_hours_run_and_fuel_used(self) -> None:
        text = DOCUMENT.read_text(encoding="utf-8")
        (hours,) = re.findall(r"^```sql\n(WITH counted.*?)^```", text, re.DOTALL | re.MULTILINE)
        run: dict[str, float] = {}
        for hostname, _, hours_run in self.rows_of(hours):
            run[hostname] = run.get(hostname, 0) + float(hours_run)
        self.assertEqual(run, {"Genset 1": HOURS - 1, "Harbour-2": HOURS - 1})
        (fuel,) = re.findall(r"^```sql\n(WITH levels.*?)^```", text, re.DOTALL | re.MULTILINE)
        used = sum(row[4] for row in self.rows_of(fuel) if row[0] == "Genset 1")
        filled_up = sum(row[5] for row in self.rows_of(fuel) if row[0] == "Genset 1")
        self.assertEqual((used, filled_up), (5 * 38, 95))


class DashboardTests(SqlTestCase):
    async def test_every_panel_shows_something(self) -> None:
        dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
        (hostid,) = (one for one in dashboard["templating"]["list"] if one["name"] == "hostid")
        self.assertEqual([value for _, value in self.rows_of(hostid["query"])], ["A", "B"])
        panels = dashboard["panels"]
        self.assertGreaterEqual(len(panels), 3)
        for panel in panels:
            (target,) = panel["targets"]
            sql = target["rawSql"].replace("$hostid", "A")
            sql = re.sub(r"\$__timeFilter\(([\w.]+)\)", r"\1 > now() - interval '1 day'", sql)
            self.assertNotIn("$", sql)
            self.assertTrue(self.rows_of(sql), sql)
