"""Whether the fast lane sees a fault: each of the table is put into a copy of the checkout, whose tests must fail."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import environment
from tests.support import REPOSITORY
from tests_long.seeded_faults import FAULTS, Fault, module_of, tests_of

TIMEOUT_S = 900


class SeededFaultTests(SynchronousTestCase):
    """One test for each fault."""

    def check(self, fault: Fault) -> None:
        folder = Path(mkdtemp(prefix="cmmd-fault-"))
        self.addCleanup(shutil.rmtree, folder)
        kept = shutil.ignore_patterns("__pycache__", "_trial_temp*")
        for part in ("cmmd", "tests", "twisted", "etc", "docs"):
            shutil.copytree(REPOSITORY / part, folder / part, ignore=kept)
        for file in REPOSITORY.glob("*.*"):
            if file.is_file():
                shutil.copy(file, folder)
        target = module_of(fault, folder / "cmmd")
        source = target.read_text(encoding="utf-8")
        target.write_text(source.replace(fault.line, fault.instead), encoding="utf-8")
        modules = tests_of(fault, folder / "tests")
        done = subprocess.run(
            [sys.executable, "-m", "twisted.trial", "--exitfirst", *modules],
            cwd=folder,
            env={**environment(), "PYTHONPATH": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
            text=True,
        )
        self.assertRegex(done.stdout, r"(?m)^FAILED \(.*(failures|errors)=", f"{fault.name} is not caught")
        self.assertNotIn("SyntaxError", done.stdout)


def _test_of(fault: Fault) -> Callable[[SeededFaultTests], None]:
    return lambda case: case.check(fault)


for _fault in FAULTS:
    setattr(SeededFaultTests, f"test_{_fault.name}", _test_of(_fault))
