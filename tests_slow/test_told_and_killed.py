"""More kills directly after an answer, with each store."""

from tests import test_told_and_killed as short
from tests.daemon import Sections
from tests.postgres import cluster


class SQLiteTests(short.KillTests):
    rounds = 20


class PostgresTests(short.KillTests):
    rounds = 20

    def store(self) -> Sections:
        """The section of the configuration: a database of its own."""
        url = cluster().new_database()
        self.addCleanup(cluster().drop_database, url)
        return {"store": {"url": url}}
