"""``cmmd.simulator.tap``: the command line of cmm-sim."""

import json
import resource
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.address import Address
from cmmd.gateway.link.link import Link
from cmmd.simulator.fault_profiles import MANNERS, Turn
from cmmd.simulator.fleet import Fleet
from cmmd.simulator.tap import Options, makeService
from tests.fleet_process import FleetProcess
from tests.scripted_server import RESET, ScriptedServer, login_answer

SERVER = ["--server", "127.0.0.1:21318"]
TEST, AUTO = "00050002FF002C2B", "00050003FF007DEB"
TIMEOUT_S = 30.0


class OptionsTests(SynchronousTestCase):
    def options(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(list(words))
        return options

    def test_defaults(self) -> None:
        options = self.options(*SERVER)
        self.assertEqual(options.server, Address("127.0.0.1", 21318))
        self.assertEqual((options.devices, options.seed, options.model, options.data_mode), (1, 1, "HGM6120N", None))
        self.assertEqual((options.misbehave, options.byte_order), ((), "big"))

    def test_all(self) -> None:
        options = self.options(
            *("--server", "[::1]:5", "--devices", "1000", "--model", "HGM4010N", "--seed", "0", "--data-mode", "0")
        )
        self.assertEqual(options.server, Address("::1", 5))
        self.assertEqual((options.devices, options.seed, options.model, options.data_mode), (1000, 0, "HGM4010N", 0))

    def test_wrong_values_end_with_one_line_that_names_the_option(self) -> None:
        for words, name in (
            ([], "--server"),
            (["--server", "host"], "--server"),
            (["--server", "host:0"], "--server"),
            ([*SERVER, "--devices", "0"], "--devices"),
            ([*SERVER, "--devices", "-1"], "--devices"),
            ([*SERVER, "--devices", "many"], "--devices"),
            ([*SERVER, "--devices", "²"], "--devices"),
            ([*SERVER, "--devices", "9" * 5000], "--devices"),
            ([*SERVER, "--devices", "50001"], "--devices"),
            ([*SERVER, "--seed", "x"], "--seed"),
            ([*SERVER, "--seed", ""], "--seed"),
            ([*SERVER, "--model", ""], "--model"),
            ([*SERVER, "--model", "M" * 31], "--model"),
            ([*SERVER, "--model", "a\nb"], "--model"),
            ([*SERVER, "--data-mode", "2"], "--data-mode"),
            ([*SERVER, "--byte-order", "middle"], "--byte-order"),
            ([*SERVER, "--misbehave", "rude"], "--misbehave"),
            ([*SERVER, "--misbehave", ""], "--misbehave"),
            ([*SERVER, "--misbehave", "none,late=soon"], "--misbehave"),
            ([*SERVER, "--misbehave", "a\nb" * 1000], "--misbehave"),
            ([*SERVER, "--colour", "red"], "colour"),
            ([*SERVER, "what"], "what"),
        ):
            with self.subTest(words=words):
                ended = self.assertRaises(SystemExit, self.options, *words)
                message = str(ended.code)  # the interpreter prints a text on stderr and ends with status 1
                self.assertIsInstance(ended.code, str)
                self.assertTrue(message.startswith("cmm-sim: "), message)
                self.assertIn(name, message)
                self.assertEqual(len(message.splitlines()), 1)
                self.assertLess(len(message), 300)

    def test_misbehave(self) -> None:
        options = self.options(*SERVER, "--misbehave", "silent,late=5,none")
        self.assertEqual(options.misbehave, (Turn("silent"), Turn("late", 5.0), Turn("none")))

    def test_calm(self) -> None:
        self.assertIs(self.options(*SERVER).calm, False)
        self.assertIs(self.options(*SERVER, "--calm").calm, True)

    def test_every_kind_of_misbehaviour_is_in_the_usage_text(self) -> None:
        lines = Options().getUsage().splitlines()
        for name, manner in MANNERS.items():
            self.assertEqual(
                [line for line in lines if line.split()[:1] == [name]], [f"      {name:<12}  {manner.title}"]
            )

    def test_no_pidfile_in_the_foreground(self) -> None:
        for nodaemon, before, after in (
            (1, "twistd.pid", ""),
            (1, "mine.pid", "mine.pid"),
            (0, "twistd.pid", "twistd.pid"),
        ):
            with self.subTest(nodaemon=nodaemon, before=before):
                parent = usage.Options()
                parent.update({"nodaemon": nodaemon, "pidfile": before})
                options = Options()
                options.parent = parent
                options.parseOptions(SERVER)
                self.assertEqual(parent["pidfile"], after)


class MakeServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.limit = (100_000, 100_000)
        self.set_to: list[tuple[int, int]] = []
        self.patch(resource, "getrlimit", lambda _: self.limit)
        self.patch(resource, "setrlimit", lambda _, limits: self.set_to.append(limits))

    def service(self, *words: str) -> Fleet:
        options = Options()
        options.parseOptions([*SERVER, *words])
        return makeService(options)

    def test_a_link_for_each_device_and_nothing_started(self) -> None:
        fleet = self.service("--devices", "20", "--model", "HGM6110N")
        links: list[Service] = fleet.services
        self.assertEqual([type(link) for link in links], [Link] * 20)
        self.assertFalse(any(link.running for link in links))
        self.assertEqual(self.set_to, [])

    def test_open_files(self) -> None:
        self.limit = (100, 100_000)
        with capturedLogs() as events:
            self.service("--devices", "500")
        self.assertEqual([soft >= 500 for soft, _ in self.set_to], [True])
        self.assertEqual(list(events), [])

    def test_too_few_open_files(self) -> None:
        self.limit = (100, 200)
        with capturedLogs() as events:
            self.service("--devices", "500")
        self.assertEqual(self.set_to, [(200, 200)])
        self.assertEqual([event["limit"] for event in events], [200])


class Caller:
    """A real connection from a device: what it says is read until something is looked for, and answered as scripted.

    :param listener: where it calls next.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._socket, _ = listener.accept()
        self._socket.settimeout(TIMEOUT_S)
        address = "{}:{}".format(*listener.getsockname())
        self._replies = {**ScriptedServer(Clock()).replies, "login": login_answer(liveData=address, historic=address)}
        self._received = b""

    def send(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode())

    def write(self, frame: str, uid: str) -> None:
        self.send({"result": frame, "datatype": 1, "uid": uid, "method": "writeConfig"})

    def next(self, method: str) -> dict[str, Any] | None:
        """The next message of a method; None: the device closed before it came."""
        while True:
            end = self._received.find(b"}{") + 1 or len(self._received)
            try:
                message: dict[str, Any] = json.loads(self._received[:end])
            except ValueError:
                piece = self._socket.recv(65536)
                if not piece:
                    return None
                self._received += piece
                continue
            self._received = self._received[end:]
            reply = self._replies.get(message["method"])
            if isinstance(reply, dict):
                self.send(reply)
            if message["method"] == method:
                return message

    def close(self) -> None:
        self._socket.close()


class ProcessTests(SynchronousTestCase):
    """A real cmm-sim and a server that is nothing but a socket."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="cmm-sim-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(TIMEOUT_S)
        self.addCleanup(self.listener.close)

    def attached(self) -> Caller:
        """Let the device log in and attach."""
        self.caller().next("login")
        live = self.caller()
        self.assertIsNotNone(live.next("LongCon"))
        return live

    def caller(self) -> Caller:
        caller = Caller(self.listener)
        self.addCleanup(caller.close)
        return caller

    def answer(self, live: Caller, frame: str, uid: str) -> tuple[str | None, str]:
        """uid and params of the answer to a write."""
        live.write(frame, uid)
        return self.next_answer(live)

    def next_answer(self, live: Caller) -> tuple[str | None, str]:
        answer = live.next("writeConfig")
        assert answer is not None
        return answer.get("uid"), answer["params"]

    def test_it_obeys_and_misbehaves(self) -> None:
        port = self.listener.getsockname()[1]
        fleet = FleetProcess(self.folder, port, 1, "--misbehave", "none,twice,without_uid,refuses,silent,hangs_up,none")
        self.addCleanup(fleet.terminate)
        live = self.attached()
        self.assertEqual(self.answer(live, TEST, "100001"), ("100001", TEST + ",1"))
        self.assertEqual(self.answer(live, AUTO, "100002"), ("100002", AUTO + ",1"))
        self.assertEqual(self.next_answer(live), ("100002", AUTO + ",1"))
        self.assertEqual(self.answer(live, "nonsense", "100003"), (None, "nonsense,0"))
        self.assertEqual(self.answer(live, TEST, "100004"), ("100004", TEST + ",0"))
        live.write(TEST, "100005")
        live.write(TEST, "100006")
        self.assertIsNone(live.next("writeConfig"), "neither is answered, and the line is dropped")
        live = self.attached()
        live.send(RESET)
        self.assertIsNotNone(live.next("reset"))
        self.assertIsNone(live.next("reset"))
        live = self.attached()
        self.assertEqual(self.answer(live, AUTO, "100008"), ("100008", AUTO + ",1"))
        self.assertEqual(fleet.terminate(), 0)
        for word in ("Traceback", "Unhandled"):
            self.assertNotIn(word, fleet.log)
