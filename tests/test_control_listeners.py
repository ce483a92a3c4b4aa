"""Where programs come in: endpoint strings, socket files, who may."""

import os
import socket
import stat
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.control import control_server as programs_module
from cmmd.control.client import ControlClient
from cmmd.control.control_server import ControlServer, DoorError
from cmmd.control.link import client_endpoint
from cmmd.control.listeners import SocketInUse, TLSSettings, clear_stale, requester, tls_doors, unix_doors
from cmmd.tls.files import TLSFiles
from tests.control_world import Authority, ControlWorld, folder, opened, until
from tests.world import HOSTID

reactor: Any = _reactor


class StringTests(SynchronousTestCase):
    def test_relative_to_the_state_directory(self) -> None:
        (door,) = unix_doors(["unix:control.sock:mode=600"], Path("/state"), reactor)
        self.assertEqual((door.socket, door.tls), (Path("/state/control.sock"), None))
        (door,) = unix_doors(["unix:address=/run/x\\:y.sock:backlog=7:mode=660"], Path("/state"), reactor)
        self.assertEqual(door.socket, Path("/run/x:y.sock"))
        self.assertEqual(unix_doors([], Path("/state"), reactor), [])

    def test_nothing_without_tls_over_a_network(self) -> None:
        for string in ("tcp:21390", "tcp6:21390", "ssl:443", "systemd:domain=INET:index=0", "21390", ""):
            error = self.assertRaises(ValueError, unix_doors, [string], Path("/state"), reactor)
            self.assertIn("control.listen", str(error))

    def test_wrong_ones(self) -> None:
        for rest in ("", "x:y", "x:mode=rw", "x:mode=888", "x:backlog=many", "x:lockfile=1", "x:address=y"):
            error = self.assertRaises(ValueError, unix_doors, [f"unix:{rest}"], Path("/state"), reactor)
            self.assertIn("control.listen", str(error))

    def test_tls_only_over_tcp(self) -> None:
        files = Authority(folder(self)).issue("server", host="localhost")
        for string in ("ssl:443", "unix:x", "443", "tcp:x", "tcp:1:nonsense=2"):
            error = self.assertRaises(ValueError, tls_doors, TLSSettings([string], files), reactor)
            self.assertIn("control.tls.listen", str(error))

    def test_tls_without_doors_needs_no_files(self) -> None:
        nowhere = TLSFiles(certificate=Path("x"), key=Path("x"), ca=Path("x"))
        self.assertEqual(tls_doors(TLSSettings([], nowhere), reactor), [])
        error = self.assertRaises(ValueError, tls_doors, TLSSettings(["tcp:0"], nowhere), reactor)
        self.assertEqual(str(error), "control.tls: x: No such file or directory")

    def test_of_clients(self) -> None:
        for string in (
            "tcp:localhost:1",
            "unix:",
            "unix:a:b",
            "tls:h",
            "tls:h:x",
            "tls:h:1:nonsense=1",
            "tls:h:1",
            "x",
        ):
            if string != "unix:":
                self.assertRaises(ValueError, client_endpoint, string, reactor)


class RequesterTests(SynchronousTestCase):
    def test_what_the_door_knows_stays(self) -> None:
        self.assertEqual(requester(None, "uid 0 pid 1"), "(uid 0 pid 1)")
        self.assertEqual(requester("  ", "uid 0 pid 1"), "(uid 0 pid 1)")
        self.assertEqual(requester("alice", "CN office"), "alice (CN office)")
        self.assertEqual(requester("a\nb (uid 0)", "CN office"), "a b [uid 0] (CN office)")
        self.assertEqual(requester("x" * 100, "CN " + "y" * 48), "x" * 10 + " (CN " + "y" * 48 + ")")
        self.assertEqual(requester("x" * 100, "y" * 100), f"({'y' * 100})")


class SocketFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = folder(self) / "control.sock"

    def listening(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(1)
        return listener

    def test_nothing_there(self) -> None:
        clear_stale(self.path)

    def test_left_behind(self) -> None:
        self.listening().close()
        clear_stale(self.path)
        self.assertFalse(self.path.exists())

    def test_in_use(self) -> None:
        with self.listening() as listener:
            self.assertRaises(SocketInUse, clear_stale, self.path)
            for _ in range(5):  # until so many wait that nobody is let in
                waiting = socket.socket(socket.AF_UNIX)
                waiting.setblocking(False)
                self.addCleanup(waiting.close)
                waiting.connect_ex(str(self.path))
            self.assertRaises(SocketInUse, clear_stale, self.path)
            self.assertTrue(self.path.is_socket())
            listener.accept()[0].close()

    def test_no_socket(self) -> None:
        self.path.write_text("mine")
        self.assertRaises(SocketInUse, clear_stale, self.path)
        target = self.path.with_name("target")
        target.write_text("mine")
        self.path.unlink()
        self.path.symlink_to(target)
        self.assertRaises(SocketInUse, clear_stale, self.path)
        self.assertEqual(target.read_text(), "mine")


class _Listener(Protocol):
    """A stranger: hears, and tells when it was hung up."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = True


class UnixTests(TestCase):
    timeout = 180

    def setUp(self) -> None:
        self.state = folder(self)
        self.control = ControlWorld()
        self.path = self.state / "control.sock"

    async def open(self, string: str = "unix:control.sock") -> ControlServer:
        return await opened(self, self.control, unix_doors([string], self.state, reactor))

    async def stranger(self) -> _Listener:
        protocol: _Listener = await connectProtocol(UNIXClientEndpoint(reactor, str(self.path)), _Listener())
        return protocol

    def mode(self) -> int:
        return stat.S_IMODE(self.path.stat().st_mode)

    async def test_only_its_owner(self) -> None:
        mask = os.umask(0)
        try:
            programs = await self.open()
        finally:
            os.umask(mask)
        self.assertEqual(self.mode(), 0o600)
        await programs.stop()
        self.assertFalse(self.path.exists())

    async def test_group(self) -> None:
        await self.open("unix:control.sock:mode=660")
        self.assertEqual(self.mode(), 0o660)

    async def test_requester_is_who_the_kernel_says(self) -> None:
        self.control.online()
        await self.open()
        async with ControlClient(self.state, reactor, requester="alice") as client:
            asked = Deferred.fromCoroutine(client.send_command(HOSTID, "auto"))
            await until(lambda: self.control.sent)
            self.control.sent[0].obeyed()
            command = await client.command((await asked).number)
        self.assertEqual(command.requester, f"alice (uid {os.getuid()} pid {os.getpid()})")

    async def test_after_a_kill(self) -> None:
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(self.path))
        left.close()
        await self.open()
        async with ControlClient(self.state, reactor) as client:
            self.assertEqual((await client.status()).devices, 0)

    async def test_somebody_serves_there(self) -> None:
        await self.open()
        second = ControlServer(
            unix_doors(["unix:other.sock", "unix:control.sock"], self.state, reactor), self.control.operations, reactor
        )
        with self.assertRaises(DoorError) as caught:
            await second.listen()
        self.assertIn("control.sock", str(caught.exception))
        self.assertFalse((self.state / "other.sock").exists())
        async with ControlClient(self.state, reactor):
            pass

    async def test_path_too_long(self) -> None:
        doors = unix_doors(["unix:" + "x" * 200], self.state, reactor)
        programs = ControlServer(doors, self.control.operations, reactor)
        await self.assertFailure(Deferred.fromCoroutine(programs.listen()), DoorError)

    async def test_socket_file_that_was_removed(self) -> None:
        programs = await self.open()
        self.path.unlink()
        await programs.stop()
        self.assertEqual(len(programs), 0)

    async def test_too_many_connections(self) -> None:
        """The oldest one makes room whose program waits for nothing; where all wait the new one is closed."""
        self.patch(programs_module, "MOST_CONNECTIONS", 2)
        self.control.online()
        programs = await self.open()
        async with ControlClient(self.state, reactor) as waits:
            asked = Deferred.fromCoroutine(waits.send_command(HOSTID, "auto"))
            await until(lambda: self.control.sent)
            idle = await self.stranger()
            async with ControlClient(self.state, reactor) as watches:
                await until(lambda: idle.lost)
                await watches.watch(lambda _: None)
                third = await self.stranger()
                await until(lambda: third.lost)
                self.assertEqual(len(programs), 2)
                self.control.sent[0].obeyed()
                self.assertEqual((await asked).outcome, "done")
                async with ControlClient(self.state, reactor) as stops:
                    stopped = Deferred.fromCoroutine(stops.send_command(HOSTID, "stop"))
                    await until(lambda: len(self.control.sent) == 2)
                    self.control.sent[1].obeyed()
                    self.assertEqual((await stopped).outcome, "done")

    async def test_garbage(self) -> None:
        await self.open()
        stranger = await self.stranger()
        assert stranger.transport is not None
        stranger.transport.write(os.urandom(50) + b"\xff\xff" + os.urandom(100_000))
        await until(lambda: stranger.lost)
        async with ControlClient(self.state, reactor) as client:
            await client.status()

    async def test_orderly_end(self) -> None:
        self.patch(programs_module, "LONGEST_CLOSE_S", 0.1)
        programs = await self.open()
        stranger = await self.stranger()
        client = ControlClient(self.state, reactor)
        client.start()
        await client.connected()
        await programs.stop()
        self.assertEqual(len(programs), 0)
        await until(lambda: stranger.lost)
        await client.stop()

    async def test_one_that_does_not_read(self) -> None:
        """It holds nobody up, costs little memory, and does not keep the daemon from ending."""
        self.patch(programs_module, "LONGEST_CLOSE_S", 0.1)
        self.control = ControlWorld(max_devices=1000)
        for number in range(300):
            await self.control.fleet.registry.enrol(f"{number:024}")
        programs = await self.open()
        stranger = await self.stranger()
        transport: Any = stranger.transport
        transport.pauseProducing()
        listed = 0
        devices = self.control.operations.devices

        def counted(**arguments: Any) -> Any:
            nonlocal listed
            listed += 1
            return devices(**arguments)

        self.patch(self.control.operations, "devices", counted)
        request = amp.Box({b"_command": b"ListDevices", b"_ask": b"1"}).serialize()
        transport.write(request * 1000)
        async with ControlClient(self.state, reactor) as client:
            for _ in range(20):
                await client.status()
        self.assertTrue(0 < listed < 50, listed)
        await programs.stop()
        await until(lambda: not len(programs))
        transport.resumeProducing()
        await until(lambda: stranger.lost)
        self.assertLess(listed, 50)
