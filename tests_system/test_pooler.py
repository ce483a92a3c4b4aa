"""A real PgBouncer between cmmd and PostgreSQL: used where sessions are its client's own, else refused in one line."""

import atexit
import shutil
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import psycopg2
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from cmmd.store.interface import StoreUnavailable
from cmmd.store.postgres.address import Address
from cmmd.store.postgres.errors import SHARED
from cmmd.store.postgres.inspector import PostgresInspector
from cmmd.store.postgres.opening import open_database
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import Query
from tests.child import Child
from tests.daemon import service_port, until
from tests.postgres import PostgresServer
from tests.test_store_contract import EVENT, PLAIN

OTHERS = ("default_transaction_read_only", "statement_timeout", "TimeZone", "jit")
"""Settings that another client of the pool would find changed."""


@cache
def server() -> PostgresServer:
    return PostgresServer().start()


class PgBouncer(Child):
    """Pools connections to a database; it has at most three sessions, and takes the least recently used one.

    :ivar url: what a client is given.
    """

    def __init__(self, database: str, mode: str, settings: str = "") -> None:
        folder = Path(mkdtemp(prefix="cmmd-system-"))
        atexit.register(shutil.rmtree, folder)
        port, behind = service_port(), urlsplit(database)
        password = unquote(behind.password or "").replace("'", "''")
        where = f"host={behind.hostname} port={behind.port} user={behind.username} password='{password}'"
        ini = folder / "pgbouncer.ini"
        ini.write_text(
            f"[databases]\n* = {where}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
            f"pool_mode = {mode}\nunix_socket_dir =\nuser = postgres\n{settings}\n"
        )
        folder.chmod(0o755)
        ini.chmod(0o644)
        self.url = f"postgresql://{behind.username}@127.0.0.1:{port}{behind.path}"
        super().__init__(folder / "output")
        self._launch(["/usr/sbin/pgbouncer", ini], cwd=folder)
        until(self._answers, "PgBouncer answers")

    def _answers(self) -> bool:
        try:
            with closing(psycopg2.connect(self.url)):
                return True
        except psycopg2.Error:
            return False


class PoolerTests(TestCase):
    timeout = 120.0

    def setUp(self) -> None:
        self.database = server().new_database()

    def pooler(self, mode: str, settings: str = "") -> PgBouncer:
        pooler = PgBouncer(self.database, mode, settings)
        self.addCleanup(pooler.terminate)
        return pooler

    def settings(self, url: str) -> list[tuple[Any, ...]]:
        """What each of some clients of the pool finds."""
        found = []
        clients = [psycopg2.connect(url) for _ in range(3)]
        for client in clients:
            client.autocommit = True
            with client.cursor() as cursor:
                cursor.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in OTHERS))
                found.append(cursor.fetchone())
        for client in clients:
            client.close()
        return found

    async def test_sessions_that_are_shared(self) -> None:
        for mode, settings in (
            ("transaction", ""),
            ("transaction", "server_round_robin = 1"),
            ("transaction", "default_pool_size = 1"),
            ("statement", ""),
        ):
            pooler = self.pooler(mode, settings)
            before = self.settings(pooler.url) if mode == "transaction" else []
            error = self.assertRaises(StoreUnavailable, open_database, Address(pooler.url))
            self.assertEqual(str(error), f"{Address(pooler.url).name}: {SHARED}")
            error = self.assertRaises(StoreUnavailable, PostgresInspector(pooler.url, None).reach)
            self.assertIn(SHARED, str(error))
            if mode == "transaction":
                self.assertEqual(self.settings(pooler.url), before)

    async def test_sessions_of_its_own(self) -> None:
        store = PostgresStore(self.pooler("session").url, cast("Any", reactor))
        await store.open()
        await store.add_device(PLAIN)
        await store.write([EVENT])
        self.assertEqual([event.number for event in await store.events(Query(limit=9))], [EVENT.number])
        await store.close()

    async def test_it_comes_in_between_later(self) -> None:
        """What was opened without a pooler and meets one at a new connection writes nothing past another session."""
        pooler = self.pooler("transaction", "server_round_robin = 1")
        store = PostgresStore(pooler.url, cast("Any", reactor))
        opened = open_database(Address(self.database))
        store._is_open(opened)
        clients = [psycopg2.connect(pooler.url) for _ in range(3)]
        for client in clients:
            with client.cursor() as cursor:  # a transaction each: so many sessions
                cursor.execute("SELECT 1")
        for client in clients:
            client.rollback()
        before = self.settings(pooler.url)
        refused = 0
        for number in range(1, 7):
            try:
                await store.events(Query(limit=number))
            except StoreUnavailable as error:
                self.assertIn(SHARED, str(error))
                refused += 1
        self.assertTrue(refused)
        await store.close()
        for client in clients:
            client.close()
        self.assertEqual(self.settings(pooler.url), before)
