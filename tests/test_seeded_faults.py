"""The table of ``tests_long.seeded_faults`` fits the code: a change that removes such a line chooses another one."""

from twisted.trial.unittest import SynchronousTestCase

from tests.support import REPOSITORY
from tests_long.seeded_faults import FAULTS, module_of, tests_of


class TableTests(SynchronousTestCase):
    def test_every_fault_has_its_line_and_its_tests(self) -> None:
        for fault in FAULTS:
            self.assertIn(fault.line, module_of(fault, REPOSITORY / "cmmd").read_text(encoding="utf-8"))
            self.assertTrue(tests_of(fault, REPOSITORY / "tests"))

    def test_there_are_twelve(self) -> None:
        self.assertGreaterEqual(len({fault.name for fault in FAULTS}), 12)
