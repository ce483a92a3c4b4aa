"""Longer outages of PostgreSQL under a larger fleet, and a daemon that is killed in the midst of one."""

from tests import test_outage_postgres as short


class LongStopTests(short.StopTests):
    devices = 60
    well_s = 2.0
    outage_s = 4.0


class KillTests(short.WithAFleet):
    devices = 60
    well_s = 2.0
    outage_s = 6.0

    def test_the_daemon_is_killed_meanwhile(self) -> None:
        report = self.live(kill=True)
        self.assertEqual(report.cut_off, self.devices)
