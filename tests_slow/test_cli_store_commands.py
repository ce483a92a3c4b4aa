"""Larger copies that are killed more often, and more migrations at once."""

from tests import test_cli_store_commands as short


class ManyMigrationsAtOnceTests(short.MigrationsAtOnceTests):
    at_once = 3


class LargeInterruptedCopyTests(short.InterruptedCopyTests):
    timeout = 300
    readings = 10_000
    kill_at = 1_500_000
    most_kills = 99
