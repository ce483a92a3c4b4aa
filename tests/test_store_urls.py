"""Which store a URL names."""

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from cmmd.store.memory import MemoryStore
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.sqlite.store import SQLiteStore
from cmmd.store.urls import store_at

FOLDER = Path("/some/folder")


class StoreAtTests(SynchronousTestCase):
    def test_each_kind(self) -> None:
        for url, kind in (
            ("memory:", MemoryStore),
            ("sqlite:cmmd.sqlite", SQLiteStore),
            ("postgresql://user:password@host:5432/database", PostgresStore),
            ("postgres://host/database?sslmode=verify-full", PostgresStore),
        ):
            self.assertIsInstance(store_at(url, FOLDER, reactor), kind)

    def test_relative_paths(self) -> None:
        sqlite = store_at("sqlite:cmmd.sqlite", FOLDER, reactor)
        assert isinstance(sqlite, SQLiteStore)
        self.assertEqual(sqlite._path, FOLDER / "cmmd.sqlite")
        for given, expected in (("password", FOLDER / "password"), ("/run/secrets/p", Path("/run/secrets/p"))):
            postgres = store_at("postgresql://host/database", FOLDER, reactor, Path(given))
            assert isinstance(postgres, PostgresStore)
            self.assertEqual(postgres._address._password_file, expected)

    def test_urls_that_name_none(self) -> None:
        for url in (
            *("mysql://user:s3cret@host/d", "", "sqlite:", "memory:s3cret"),
            *("postgresql://user:s3cret@host:s3cret/d", "postgresql://user:s3cret/@host/d", "postgresql:s3cret"),
        ):
            with self.assertRaises(ValueError) as caught:
                store_at(url, FOLDER, reactor)
            message = str(caught.exception)
            self.assertNotIn("\n", message)
            self.assertNotIn("s3cret", message, url)
