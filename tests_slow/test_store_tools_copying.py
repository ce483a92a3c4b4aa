"""Copies of stores between the pairs of which the fast lane sees a round trip, and at each place of SQLite's."""

from tests import test_store_tools_copying as short


class SQLiteAtEachPlace(short.Places, short.Makes):
    def setUp(self) -> None:
        self.make_source = self.make_target = self.new_sqlite


class MemoryToSQLite(short.Places, short.Mishaps, short.Makes):
    def setUp(self) -> None:
        self.make_source, self.make_target = self.new_memory, self.new_sqlite


class _WithPostgres(short.Places, short.Mishaps):
    every = 5
    page_sizes = (short.SMALL_PAGE,)


class SQLiteToPostgres(_WithPostgres, short.Makes):
    def setUp(self) -> None:
        self.make_source, self.make_target = self.new_sqlite, self.new_postgres


class PostgresToSQLite(_WithPostgres, short.Makes):
    def setUp(self) -> None:
        self.make_source, self.make_target = self.new_postgres, self.new_sqlite


class PostgresToPostgres(_WithPostgres, short.Makes):
    def setUp(self) -> None:
        self.make_source = self.make_target = self.new_postgres
