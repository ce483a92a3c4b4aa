"""``tests.language``: the rules for names, docstrings and words catch what they are there for."""

from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.language import EXCEPTIONS, MOST_EXCEPTIONS, violations

GOOD = '''"""Store what a test needs here."""

class Store:
    """A store of nothing at all."""

    def write(self, row):
        """Write one row of the store."""

class Memory(Store):
    """A store that forgets at once."""

    def write(self, row):
        pass
'''


class RuleTests(SynchronousTestCase):
    """Every rule names file and line."""

    def found(self, source: str, name: str = "cmmd/module.py") -> list[str]:
        with TemporaryDirectory() as folder:
            file = Path(folder, name)
            file.parent.mkdir(exist_ok=True)
            file.write_text(source, encoding="utf-8")
            return violations(Path(folder))

    def test_nothing_wrong(self) -> None:
        self.assertEqual(self.found(GOOD), [])

    def test_question_words(self) -> None:
        self.assertEqual(
            self.found(GOOD.replace("Store what a test", "What a test")),
            ["cmmd/module.py:1: a summary begins with a verb or names a thing: What a test needs here."],
        )

    def test_short(self) -> None:
        self.assertEqual(
            self.found(GOOD.replace("A store of nothing at all", "A store")),
            ["cmmd/module.py:3: a summary has 4 words or more: A store."],
        )

    def test_undocumented(self) -> None:
        self.assertEqual(
            self.found(GOOD + "    def read(self):\n        pass\n"),
            ["cmmd/module.py:14: read has no docstring, and implements nothing that has one"],
        )

    def test_words(self) -> None:
        self.assertEqual(
            self.found(GOOD + "# something is the matter\n"),
            ["cmmd/module.py:14: not 'is the matter' but has failed: # something is the matter"],
        )
        self.assertEqual(self.found(GOOD + "witness = 1\n"), [], "names in code are no prose")
        self.assertEqual(
            self.found("Text.\nSomething is the matter.\n", "README.md"),
            ["README.md:2: not 'is the matter' but has failed: Something is the matter."],
        )

    def test_exceptions(self) -> None:
        self.assertLessEqual(len(EXCEPTIONS), MOST_EXCEPTIONS)
