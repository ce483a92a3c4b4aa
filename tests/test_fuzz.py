"""``fuzz``: every input of the corpus is replayed without the engine, and what must be found is found."""

from pathlib import Path

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from fuzz.harness import (
    RECORD,
    Escape,
    Target,
    load_scripts,
    records,
    replay,
    save_scripts,
    target_kind,
)
from fuzz.report import corpus_file

log = Logger()


class _Strange(Exception):
    pass


class _Bad(Target):
    """Fails in one way for each input."""

    def run(self, script: bytes) -> None:
        if script == b"raises":
            raise _Strange
        if script == b"logs":
            try:
                raise _Strange
            except _Strange:
                log.failure("a bug")
        if script == b"cannot be formatted":
            log.info("{no[such]}", no=1)
        self.steps(int)


class HarnessTests(SynchronousTestCase):
    def test_exceptions_escape(self) -> None:
        self.assertRaises(_Strange, replay, _Bad, [b"raises"])

    def test_a_logged_bug_is_an_escape(self) -> None:
        error = self.assertRaises(Escape, replay, _Bad, [b"logs"])
        self.assertIn("_Strange", str(error))
        self.assertEqual(len(self.flushLoggedErrors(_Strange)), 1)

    def test_an_event_that_cannot_be_formatted_is_an_escape(self) -> None:
        self.assertRaises(Escape, replay, _Bad, [b"cannot be formatted"])

    def test_each_step_is_timed(self) -> None:
        self.assertEqual(len(replay(_Bad, [b"", b""])), 2)

    def test_records(self) -> None:
        self.assertEqual(list(records(b"a" + RECORD + RECORD + b"\x01b")), [b"a", b"\x01b"])

    def test_scripts_are_kept_as_they_are(self) -> None:
        path = Path(self.mktemp())
        scripts = [bytes(range(256)), b"", b'"']
        save_scripts(path, scripts)
        self.assertEqual(load_scripts(path), scripts)


class CorpusTests(SynchronousTestCase):
    """Nothing escapes, and no bug is logged."""

    def check(self, name: str) -> None:
        scripts = load_scripts(corpus_file(name))
        self.assertGreater(len(scripts), 20)
        kind = target_kind(name)
        self.assertGreater(len(replay(kind, [*scripts, *kind.LARGE])), len(scripts))

    def test_splitter(self) -> None:
        self.check("splitter")

    def test_lenient(self) -> None:
        self.check("lenient")

    def test_session(self) -> None:
        self.check("session")

    def test_control(self) -> None:
        self.check("control")

    def test_web(self) -> None:
        self.check("web")
