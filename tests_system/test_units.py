"""The systemd units as systemd sees them: how much of the system each service can reach."""

import re
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import DEADLINE_S
from tests.support import REPOSITORY


class ExposureTests(SynchronousTestCase):
    def exposure(self, unit: str) -> float:
        """What ``systemd-analyze security`` makes of a unit: 0 (nothing) to 10 (everything)."""
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(REPOSITORY / "etc" / unit)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False).stdout
        found = re.search(r"exposure level for \S+: ([0-9.]+)", said)
        assert found is not None, said
        return float(found[1])

    def test_cmmd(self) -> None:
        self.assertLessEqual(self.exposure("cmmd.service"), 1.5)

    def test_gateway(self) -> None:
        self.assertLessEqual(self.exposure("cmm-gateway.service"), 2.0)
