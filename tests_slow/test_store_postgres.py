"""More migrations at once, another version of PostgreSQL, and the servers of the tests themselves."""

import subprocess
import sys
from pathlib import Path
from shutil import copytree
from time import time

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import Query
from tests import postgres
from tests import test_store_postgres as short
from tests.daemon import environment, until
from tests.postgres import PostgresServer, programs
from tests.test_store_contract import ALARM, COMMAND, EVENT, FULL_READING, PLAIN, PROFILE, READING, UPLOAD


class ManyMigrationsTests(short.MigrationTests):
    at_once = 4


class ServerTests(TestCase):
    """Our servers for tests."""

    timeout = 180

    async def test_version_16(self) -> None:
        server = PostgresServer(version=16).start()
        self.addCleanup(server.remove)
        store = PostgresStore(server.new_database(), reactor)
        self.addCleanup(store.close)
        await store.open()
        await store.add_device(PLAIN)
        await store.write([READING, EVENT, ALARM, COMMAND, UPLOAD, PROFILE, replace(FULL_READING, number=2)])
        self.assertEqual(await store.readings(Query()), [READING, replace(FULL_READING, number=2)])
        self.assertEqual(await store.forget(int(time() * 1000), 100), 3)
        await store.close()
        self.assertEqual((await store.open()).alarms, [ALARM])

    def test_nothing_is_left_of_one_whose_process_was_killed(self) -> None:
        begin = (
            "from tests.postgres import PostgresServer\n"
            "server = PostgresServer().start()\n"
            "print(server.pids()[0], server.folder, flush=True)\n"
            "input()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", begin], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            pid, folder = process.stdout.readline().split()
            self.assertTrue(Path("/proc", pid).exists())
            process.kill()
        until(lambda: not Path("/proc", pid).exists(), "the server has ended")
        until(lambda: not Path(folder).exists(), "its files are gone")

    def test_programs_that_nobody_can_reach(self) -> None:
        hidden = Path(self.mktemp())
        hidden.mkdir(mode=0o700)
        there = programs()
        site = there.parents[2]
        for part in (there.parent, site / f"{there.parents[1].name}.libs"):
            copytree(part, hidden / part.relative_to(site))
        self.patch(postgres, "programs", lambda version: hidden.absolute() / there.relative_to(site))
        server = PostgresServer().start()
        self.addCleanup(server.remove)
        self.assertEqual(server.execute("SELECT 1"), [(1,)])
