"""Longer outages of SQLite, with a daemon that is killed three times in one."""

from tests import test_outage_sqlite as short


class LongOutageTests(short.OutageTests):
    well_s = 1.0
    waiting = 3.0
    restarts = 2
