"""cmmctl store on PostgreSQL: nothing it prints has the password; nothing is harmed that a daemon uses."""

from collections.abc import Sequence
from contextlib import closing
from contextlib import suppress as ignoring
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg2
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.cli import store_commands
from cmmd.store.postgres import inspector
from cmmd.store.postgres.schema import schemas
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import Row
from tests.cli_world import Called, reactor
from tests.control_world import until
from tests.postgres import PASSWORD, cluster
from tests.test_cli_store_commands import HERE, StoreTestCase, many_readings
from tests.test_store_contract import ALARM, COMMAND, EVENT, FULL, PLAIN, PROFILE, READING, UPLOAD
from tests.test_store_tools_copying import rows

NEWEST = max(schemas())


class PostgresTestCase(StoreTestCase):
    """There is a database with nothing in it."""

    timeout = 180

    def setUp(self) -> None:
        super().setUp()
        self.url = self.database()
        parts = urlsplit(self.url)
        self.shown = f"postgresql://{parts.hostname}:{parts.port}{parts.path}"
        self.patch(store_commands, "ENDING_S", 0.0)

    def database(self) -> str:
        return cluster().new_database()

    async def put(self, some: Sequence[Row]) -> None:
        store = await self.opened()
        await store.write(some)
        await store.close()

    async def opened(self) -> PostgresStore:
        store = PostgresStore(self.url, reactor)
        self.addCleanup(store.close)
        await store.open()
        return store

    def sql(self, statement: str) -> Any:
        return cluster().execute(statement, self.url)

    async def call(self, *arguments: str) -> Called:
        called = await super().call(*arguments)
        self.assertNotIn(PASSWORD, called.out + called.err)
        self.assertNotIn(quote(PASSWORD, safe=""), called.out + called.err)
        return called

    async def info(self) -> Any:
        return (await self.done("--json", "store", "info", self.url)).json


class ReachTests(PostgresTestCase):
    async def test_what_cannot_be_reached(self) -> None:
        parts = urlsplit(self.url)
        assert parts.password is not None
        for netloc, path in (
            (parts.netloc.replace(f":{parts.port}", ":1"), parts.path),
            (parts.netloc.replace(parts.password, "wrong"), parts.path),
            (parts.netloc, "/nowhere"),
            (parts.netloc.replace("127.0.0.1", "nowhere.invalid"), parts.path),
        ):
            url = urlunsplit(parts._replace(netloc=netloc, path=path))
            for command in (("info", url), ("migrate", url), ("copy", url, HERE)):
                await self.fails(4, "store_unavailable", "store", *command)
            called = await self.call("store", "check", url)
            self.assertEqual((called.status, called.err), (1, ""))
            self.assertTrue(called.out.startswith("WRONG reached: postgresql://"), called.out)
        self.assertEqual(self.files(), set())

    async def test_target_that_cannot_be_reached(self) -> None:
        await self.fill(rows(5))
        url = f"{self.url}_nowhere"
        await self.fails(4, "store_unavailable", "store", "copy", HERE, url)

    async def test_url_that_is_none(self) -> None:
        for url in ("postgresql://user:se/cret@host/x", "postgresql://u:secret@h/d?nonsense=1"):
            called = await self.call("store", "info", url)
            self.assertEqual((called.status, called.out, len(called.err.splitlines())), (2, "", 1), called.err)
            self.assertNotIn("cret", called.err)

    async def test_password_in_a_file(self) -> None:
        await self.put([EVENT])
        parts = urlsplit(self.url)
        assert parts.password is not None
        url = urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}", "")))
        (self.state / "password").write_text(f"{PASSWORD}\n")
        config = self.state / "cmmd.toml"
        config.write_text(f'[store]\nurl = "{url}"\npassword_file = "password"\n')
        store = ("store", "--config", str(config))
        self.assertEqual((await self.done("--json", *store, "info")).json["counts"]["events"], 1)
        await self.done(*store, "check")
        await self.done(*store, "copy", url, HERE)
        await self.fails(4, "store_unavailable", "store", "info", url)
        (self.state / "password").unlink()
        await self.fails(1, "store_error", *store, "info")


class InfoTests(PostgresTestCase):
    async def test_json(self) -> None:
        months = [1_700_000_000_000, 1_703_000_000_000]
        readings = [replace(READING, number=n, at=months[n % 2] + n) for n in range(1, 1201)]
        await self.put([replace(PLAIN, number=4), PROFILE, UPLOAD, ALARM, EVENT, COMMAND, *readings])
        found = await self.info()
        partitions = {one["name"]: one for one in found.pop("partitions")}
        self.assertEqual([partitions[f"reading_2023{month}"]["rows"] for month in ("11", "12")], [600, 600])
        sizes = [one["size"] for one in partitions.values()]
        self.assertEqual(len(sizes), 2 + 4)
        self.assertGreater(found["size"], sum(sizes))
        self.assertAlmostEqual(found.pop("reading_size"), sum(sizes) / 1200, delta=1)
        self.assertRegex(found.pop("server"), r"^PostgreSQL \d+")
        expected = {
            "store": self.shown,
            "schema": NEWEST,
            "newest_schema": NEWEST,
            "identity": found["identity"],
            "writer": "",
            "counts": {
                "devices": 1,
                "profiles": 1,
                "uploads": 1,
                "readings": 1200,
                "alarms": 1,
                "events": 1,
                "commands": 1,
            },
            "approximate": [],
            "oldest_reading_at": months[0] + 2,
            "newest_reading_at": months[1] + 1199,
            "size": found["size"],
        }
        self.assertEqual(found, expected)

    async def test_for_people(self) -> None:
        await self.put(rows(20))
        out = (await self.done("store", "info", self.url)).out
        for line in (f"store *{self.shown}", "readings *20", r"reading_\d{6} +\d+ +[0-9.]+ kB"):
            self.assertRegex(out, rf"(?m)^{line} *$")

    async def test_estimates(self) -> None:
        await self.put(rows(300))
        self.sql("ANALYZE")
        self.patch(inspector, "MOST_COUNTED", 0)
        found = await self.info()
        self.assertEqual(
            found["approximate"], ["alarms", "commands", "devices", "events", "profiles", "readings", "uploads"]
        )
        self.assertEqual(found["counts"]["readings"], 300)
        self.assertRegex((await self.done("store", "info", self.url)).out, r"(?m)^readings +about 300 *$")
        self.sql("INSERT INTO event SELECT number + 1000, at, hostid, kind, details FROM event")
        self.assertAlmostEqual((await self.info())["counts"]["events"], 600, delta=60)

    async def test_readings_in_another_kind_of_table(self) -> None:
        """Whatever an extension makes of it, it is found where it is."""
        await self.put(rows(20))
        self.sql("CREATE TABLE plain (LIKE reading INCLUDING ALL); INSERT INTO plain SELECT * FROM reading")
        self.sql("DROP TABLE reading CASCADE; ALTER TABLE plain RENAME TO reading")
        found = await self.info()
        self.assertEqual((found["counts"]["readings"], [one["name"] for one in found["partitions"]]), (20, ["reading"]))
        await self.done("store", "check", self.url)
        self.sql("CREATE TABLE chunk () INHERITS (reading)")
        self.sql("WITH moved AS (DELETE FROM ONLY reading RETURNING *) INSERT INTO chunk SELECT * FROM moved")
        found = await self.info()
        self.assertEqual((found["counts"]["readings"], [one["name"] for one in found["partitions"]]), (20, ["chunk"]))

    async def test_nothing_there(self) -> None:
        line = await self.fails(4, "store_unavailable", "store", "info", self.url)
        self.assertIn("there is no store of cmmd in it yet", line)
        self.assertEqual(self.sql("SELECT relname FROM pg_class WHERE relname = 'device'"), [])

    async def test_newer_schema(self) -> None:
        await self.put([])
        self.sql(f"INSERT INTO schema_version (number) VALUES ({NEWEST + 1})")
        for command in (("info", self.url), ("migrate", self.url), ("copy", self.url, HERE)):
            await self.fails(1, "schema_too_new", "store", *command)
        called = await self.call("store", "check", self.url)
        self.assertEqual(called.status, 1)
        self.assertIn("WRONG schema: ", called.out)

    async def test_while_it_is_used(self) -> None:
        store = await self.opened()
        await store.write([EVENT])
        self.assertEqual((await self.info())["counts"]["events"], 1)
        await store.write([replace(EVENT, number=2)])

    async def test_interrupted(self) -> None:
        """Whoever asks does not have to wait for what is asked."""
        await self.put([EVENT])
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE event IN ACCESS EXCLUSIVE MODE")
            process = self.spawn("store", "info", self.url)
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            await until(lambda: self.sql(waiting))
            process.transport.signalProcess("INT")
            self.assertEqual(await process.ended, 130, process.err)
            await until(lambda: not self.sql(waiting))
        self.assertEqual((process.out, process.err), ("", "cmmctl: interrupted [interrupted]\n"))


class CheckTests(PostgresTestCase):
    async def wrong(self, url: str = "") -> dict[str, str]:
        called = await self.call("--json", "store", "check", url or self.url)
        wrong = {one["name"]: one["text"] for one in called.json if not one["ok"]}
        self.assertEqual((called.status, called.err), (1 if wrong else 0, ""))
        return wrong

    async def test_all_is_well(self) -> None:
        await self.put(rows(20))
        called = await self.done("--json", "store", "check", self.url)
        names = ["reached", "schema", "rights", "in use", "partitions", "records", "profiles", "numbers", "whole"]
        self.assertEqual([one["name"] for one in called.json], names)
        self.assertEqual([one["name"] for one in called.json if not one["ok"]], [])

    async def test_nothing_there(self) -> None:
        wrong = await self.wrong()
        self.assertEqual(list(wrong), ["schema"])
        self.assertIn(f"none yet, version {NEWEST} is wanted: `cmmctl store migrate`", wrong["schema"])

    async def test_who_uses_it(self) -> None:
        store = await self.opened()
        await store.write([])
        out = (await self.done("store", "check", self.url)).out
        self.assertRegex(out, r"(?m)^ok    in use: another cmmd writes to it: server process \d+, connected from ")

    async def test_rights(self) -> None:
        await self.put([])
        name = f"role_{urlsplit(self.url).path[6:]}"
        cluster().execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
        self.addCleanup(cluster().execute, f"DROP ROLE {name}")
        self.addCleanup(self.sql, f"DROP OWNED BY {name}")
        self.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        self.sql(f"GRANT INSERT ON device TO {name}")
        parts = urlsplit(self.url)
        url = urlunsplit(parts._replace(netloc=f"{name}:x@{parts.hostname}:{parts.port}"))
        wrong = await self.wrong(url)
        self.assertEqual(list(wrong), ["rights"])
        self.assertEqual(wrong["rights"], "not granted: CREATE on schema public, and 11 more")
        self.assertIn("not granted: CREATE on schema", (await self.call("store", "check", url)).out)

    async def test_partitions(self) -> None:
        await self.put([])
        ((name,),) = self.sql("SELECT 'reading_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')")
        self.sql(f"DROP TABLE {name}")
        self.assertEqual(await self.wrong(), {"partitions": f"{name} is not there: start cmmd, which makes it"})

    async def test_damaged_records(self) -> None:
        await self.put(rows(20))
        self.sql("UPDATE device SET byte_order = 'sideways' WHERE number = 3")
        wrong = await self.wrong()
        self.assertEqual(list(wrong), ["records"])
        self.assertIn("device", wrong["records"])
        line = await self.fails(1, "copy_refused", "store", "copy", self.url, HERE)
        self.assertIn("is damaged", line)

    async def test_profiles_and_numbers(self) -> None:
        await self.put([PROFILE, READING, replace(READING, number=2, profile=9), EVENT])
        self.sql("UPDATE counter SET highest = 0 WHERE kind IN ('reading', 'event')")
        numbers = "reading has number 2, and 0 is noted as the highest one, and 1 more"
        wrong = {"profiles": "readings have profile 9, which is not there", "numbers": numbers}
        self.assertEqual(await self.wrong(), wrong)

    async def test_whole(self) -> None:
        await self.put([])
        self.sql("UPDATE store SET writer = 'copy of abc'")
        self.assertIn("an unfinished copy of abc", (await self.wrong())["whole"])
        self.sql("DELETE FROM store")
        self.assertEqual(list(await self.wrong()), ["whole"])


class MigrateTests(PostgresTestCase):
    async def test_from_nothing(self) -> None:
        out = (await self.done("store", "migrate", self.url)).out
        self.assertEqual(out, f"{self.shown}: schema version 0, now {NEWEST}\n")
        called = await self.done("--json", "store", "migrate", self.url)
        self.assertEqual(called.json, {"store": self.shown, "before": NEWEST, "after": NEWEST})
        await self.put(rows(5))

    async def test_in_use(self) -> None:
        store = await self.opened()
        await store.write([])
        line = await self.fails(1, "store_in_use", "store", "migrate", self.url)
        self.assertIn(f"{self.shown} is in use: another cmmd writes to it", line)

    async def test_two_at_once(self) -> None:
        called = [Deferred.fromCoroutine(self.process("store", "migrate", self.url)) for _ in "12"]
        for one in called:
            ended = await one
            self.assertEqual((ended.status, ended.err), (0, ""))
        self.assertEqual((await self.info())["schema"], NEWEST)


class CopyingTestCase(PostgresTestCase):
    async def assert_copied(self) -> None:
        there, here = await self.info(), (await self.done("--json", "store", "info", HERE)).json
        self.assertEqual((there["counts"], there["writer"]), (here["counts"], ""))
        await self.done("store", "check", self.url)


class CopyFromNothingTests(CopyingTestCase):
    """Databases that have no tables yet."""

    async def test_there_and_back(self) -> None:
        await self.fill(rows(50))
        called = await self.done("--json", "store", "copy", HERE, self.url)
        self.assertEqual((called.json["same"], called.json["continued"]), (True, False))
        self.assertEqual((called.json["source"], called.json["target"]), (f"sqlite:{self.path}", self.shown))
        await self.assert_copied()
        back = await self.done("--json", "store", "copy", self.url, "sqlite:back.sqlite")
        self.assertEqual(back.json["kinds"], called.json["kinds"])
        await self.done("store", "check", "sqlite:back.sqlite")

    async def test_nothing_to_copy(self) -> None:
        await self.fails(4, "store_unavailable", "store", "copy", self.url, HERE)
        self.assertEqual(self.files(), set())


class _LentTestCase(CopyingTestCase):
    def database(self) -> str:
        url = cluster().lend_store()
        self.addCleanup(cluster().take_back_store, url)
        return url


class CopyTests(_LentTestCase):
    async def test_in_use(self) -> None:
        await self.fill(rows(5))
        store = await self.opened()
        await store.write([])
        for urls in ((HERE, self.url), (self.url, "sqlite:other.sqlite")):
            await self.fails(1, "store_in_use", "store", "copy", *urls)
        self.assertEqual((await self.info())["counts"]["devices"], 0)

    async def test_same(self) -> None:
        await self.put(rows(5))
        await self.fails(1, "copy_refused", "store", "copy", self.url, self.url)
        other = self.url.replace("127.0.0.1", "localhost")
        line = await self.fails(1, "copy_refused", "store", "copy", self.url, other)
        self.assertIn("the same store", line)

    async def test_not_empty(self) -> None:
        await self.fill(rows(5))
        await self.put([EVENT])
        line = await self.fails(1, "copy_refused", "store", "copy", HERE, self.url)
        self.assertIn("not empty", line)


class InterruptedCopyTests(_LentTestCase):
    """Copies of so many readings that end in the midst."""

    readings = 4000

    async def many(self) -> None:
        await self.fill([PROFILE, replace(FULL, number=1)])
        await self.fill(many_readings(self.readings))

    def come(self) -> int:
        """How many readings have come."""
        with ignoring(psycopg2.errors.UndefinedTable):
            ((found,),) = self.sql("SELECT count(*) FROM reading")
            return int(found)
        return 0

    async def test_interrupt(self) -> None:
        await self.many()
        process = self.spawn("--state", str(self.state), "store", "copy", HERE, self.url)
        await until(lambda: self.come() > self.readings / 5)
        process.transport.signalProcess("INT")
        status = await process.ended
        self.assertNotIn("Traceback", process.out)
        called = await self.done("--json", "store", "copy", HERE, self.url)
        self.assertTrue(called.json["same"])
        if status != 0:  # else the copy was complete before this process had its turn: the machine is busy
            self.assertEqual(status, 130, process.err)
            line = "cmmctl: interrupted: the same command continues where it was [interrupted]\n"
            self.assertEqual(process.err, line)
            self.assertTrue(called.json["continued"])
        await self.assert_copied()

    async def test_database_that_goes_away(self) -> None:
        await self.many()
        process = self.spawn("--state", str(self.state), "store", "copy", HERE, self.url)
        await until(lambda: self.come() > self.readings / 5)
        name = urlsplit(self.url).path[1:]
        cluster().execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        status = await process.ended
        if status != 0:  # else the copy was complete before this process had its turn: the machine is busy
            self.assertEqual(status, 4, process.err)
            self.assertEqual(len(process.err.splitlines()), 1, process.err)
        await self.done("store", "copy", HERE, self.url)
        await self.assert_copied()


class NeverPrintedTests(SynchronousTestCase):
    def test_the_password_is_one_that_has_to_be_quoted(self) -> None:
        """Else the tests above would look for something else."""
        self.assertNotEqual(quote(PASSWORD, safe=""), PASSWORD)
