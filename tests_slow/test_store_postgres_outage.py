"""More that comes over a server of PostgreSQL."""

from tests import test_store_postgres_outage as short


class LongerTimeTests(short.AnyTimeTests):
    happenings = ("end", "freeze", "end", "fast", "end", "end", "immediate", "freeze", "kill", "end")
