"""``cmmd.gateway.link.command_log``: what the server orders stands in the log, and what became of it."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.gateway.link.command_log import CommandLog, names_of
from cmmd.gateway.link.source import InputStates
from tests.scripted_server import PLAN, ScriptedSource

AUTO = "00050003FF007DEB"


class NameTests(SynchronousTestCase):
    def test_names(self) -> None:
        name = names_of(load_catalog(), "HGM6120N")
        for frame, expected in (
            (AUTO, f"auto ({AUTO})"),
            (AUTO.lower(), f"auto ({AUTO})"),
            ("0005000300003C1B", "function 05, address 3 (0005000300003C1B)"),
            ("010600300001480 5".replace(" ", ""), "function 06, address 48 (0106003000014805)"),
            ("0103002E000AA5C4", "0103002E000AA5C4, which writes nothing"),
            ("00050003FF007DEC", "no Modbus frame '00050003FF007DEC'"),
            ("x\ny", r"no Modbus frame 'x\ny'"),
        ):
            self.assertEqual(name(frame), expected)

    def test_controller_without_names(self) -> None:
        self.assertEqual(names_of(load_catalog(), "something else")(AUTO), f"function 05, address 3 ({AUTO})")


class WitnessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = ScriptedSource()
        self.witness = CommandLog(self.source, lambda frame: f"<{frame}>", Logger())

    def said(self, doing: Deferred[bool]) -> bool:
        return self.successResultOf(doing)

    def write(self) -> tuple[bool, list[str]]:
        with capturedLogs() as captured:
            done = self.successResultOf(Deferred.fromCoroutine(self.witness.write("F")))
        return done, [formatEvent(event) for event in captured]

    def test_done(self) -> None:
        self.source.obey = lambda frame: True
        self.assertEqual(self.write(), (True, ["order from the server: <F>", "<F>: done"]))
        self.assertEqual(self.source.written, ["F"])

    def test_not_done(self) -> None:
        self.assertEqual(self.write(), (False, ["order from the server: <F>", "<F>: not done"]))

    def test_inhibited(self) -> None:
        self.source.inputs = lambda: InputStates(inhibit_remote=1)  # type: ignore[method-assign]
        self.assertEqual(self.write()[1][1], "<F>: refused: remote control is inhibited")

    def test_a_stop_despite_the_inhibit_input(self) -> None:
        self.source.stops = {"S"}
        self.source.inputs = lambda: InputStates(inhibit_remote=1)  # type: ignore[method-assign]
        self.assertEqual([self.witness.is_stop(frame) for frame in ("S", "F")], [True, False])
        for obeyed, outcome in ((True, "done"), (False, "not done")):
            self.source.obey = lambda frame, obeyed=obeyed: obeyed  # type: ignore[misc]
            with capturedLogs() as captured:
                done = self.successResultOf(Deferred.fromCoroutine(self.witness.stop("S", 5.0)))
            said = [formatEvent(event) for event in captured]
            self.assertEqual(done, obeyed)
            self.assertEqual(
                said, ["order from the server: <S>, passed on despite the inhibit input", f"<S>: {outcome}"]
            )

    def test_session_that_ends_first(self) -> None:
        self.source.obey = lambda frame: Deferred()
        with capturedLogs() as captured:
            writing = Deferred.fromCoroutine(self.witness.write("F"))
            writing.cancel()
        self.failureResultOf(writing, CancelledError)
        self.assertEqual((captured[-1]["log_level"], len(captured)), (LogLevel.warn, 2))
        self.assertIn("the server is not answered", formatEvent(captured[-1]))

    def test_port(self) -> None:
        self.source.port_works = True
        with capturedLogs() as captured:
            self.assertTrue(self.successResultOf(Deferred.fromCoroutine(self.witness.set_port(2, None))))
        self.assertIn("RS485: done", formatEvent(captured[-1]))
        self.assertEqual(self.source.ports, [(2, None)])

    def test_everything_else_is_the_source_s(self) -> None:
        self.assertEqual(self.witness.identity(), self.source.identity())
        self.assertEqual(self.witness.inputs(), self.source.inputs())
        self.assertEqual(self.witness.reading(), self.source.reading())
        self.witness.follow(PLAN, 0)
        self.assertEqual(self.source.followed, [(PLAN, 0)])
        self.source.changes = []
        self.successResultOf(Deferred.fromCoroutine(self.witness.full_upload()))  # type: ignore[arg-type]
        self.successResultOf(Deferred.fromCoroutine(self.witness.change_upload()))  # type: ignore[arg-type]
