"""What a message costs, counted and never timed: system calls, calls and instructions of Python, objects that stay.

For the slow lane: the counts hold on any machine, but change with every release of Python and Twisted.
"""

import socket
import sys
from collections import Counter
from typing import Any

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.trial.unittest import TestCase

from cmmd.fleet.telemetry.register_state import RegisterState
from cmmd.server import direct_reads
from cmmd.server.listeners import DeviceListeners, Listener, Role
from cmmd.wire.messages import encode
from tests.test_server_session import message
from tests.uploads import AT_REST, STANDBY, change_upload, full_upload
from tests.world import HOSTID, World, login_params

SYSTEM_CALLS = {"poll", "recv", "send", "sendall", "modify", "register", "unregister", "shutdown", "setsockopt"}
SOME = 50
CHANGES = [encode(change_upload({0: volts, 6: 5000, 24: 268 + volts % 2}, {0: 0x40})) for volts in (230, 231)]


class MessageCostTests(TestCase):
    fixed = False

    async def asyncSetUp(self) -> None:
        assert isinstance(reactor, EPollReactor)
        self.world = World(interval_s=1e9)
        await self.world.registry.login(login_params(), "127.0.0.1")  # from where it is going to upload
        record = self.world.fleet.live[HOSTID]
        record.known = RegisterState("little", fixed=self.fixed)
        self.sessions = DeviceListeners(replace(self.world.around, now=self.world.clock.seconds), 10)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        await self.sessions.listen([Listener("tcp:0", endpoint, frozenset(Role))])
        self.addCleanup(lambda: Deferred.fromCoroutine(self.sessions.stop()))
        port = self.sessions.tcp_port("tcp:0")
        assert port is not None
        self.device = socket.create_connection(("127.0.0.1", port), 10)
        self.addCleanup(self.device.close)
        for one in (message("LongCon", HOSTID), encode(full_upload()), encode(change_upload({0: 230}))):
            self.say(one)
        for _ in range(3):
            self.say(message("HB", HOSTID, params=""))

    def say(self, document: bytes) -> None:
        """Let the device send a message, and the reactor turn until it is answered."""
        self.device.sendall(document)
        self.device.setblocking(False)
        for _ in range(100):
            direct_reads._poll(reactor, 0.1)
            self.world.write_batch()
            try:
                answer = self.device.recv(4096)
            except BlockingIOError:
                continue
            self.assertIn(b'"000000"', answer)
            self.device.settimeout(10)
            return
        self.fail("no answer")

    def cost(self, *documents: bytes) -> tuple[Counter[str], float, float]:
        """System calls and Python calls of one turn of the reactor for each message; and blocks of memory that stay."""
        system: Counter[str] = Counter()
        python = 0

        def profile(frame: Any, event: str, what: Any) -> None:
            nonlocal python
            if event == "call":
                python += 1
            elif event == "c_call" and what.__name__ in SYSTEM_CALLS:
                system[what.__name__] += 1

        for document in documents * 2:  # what is made once is there afterwards
            self.say(document)
        blocks = sys.getallocatedblocks()
        for document in documents * SOME:
            self.device.sendall(document)
            sys.setprofile(profile)
            direct_reads._poll(reactor, 10)
            sys.setprofile(None)
            self.assertIn(b'"000000"', self.device.recv(4096))
        count = SOME * len(documents)
        self.assertEqual({amount % count for amount in system.values()}, {0}, system)
        stays = (sys.getallocatedblocks() - blocks) / count
        return Counter({name: amount // count for name, amount in system.items()}), python / count, stays

    def instructions(self, *documents: bytes) -> float:
        """Instructions of Python of one turn of the reactor for each message."""
        count = 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal count
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            count += event == "opcode"
            return trace

        for document in documents:
            self.device.sendall(document)
            sys.settrace(trace)
            direct_reads._poll(reactor, 10)
            sys.settrace(None)
            self.assertIn(b'"000000"', self.device.recv(4096))
        return count / len(documents)

    async def check(self, most_calls: int, most_instructions: int, *documents: bytes) -> None:
        await self.asyncSetUp()
        system, python, stays = self.cost(*documents)
        self.assertEqual(system, {"poll": 1, "recv": 1, "send": 1})
        self.assertLessEqual(python, most_calls)
        self.assertLess(stays, 1)
        self.assertLessEqual(self.instructions(*documents), most_instructions)

    async def test_heartbeat(self) -> None:
        await self.check(4, 190, message("HB", HOSTID, params=""))

    async def test_full_upload(self) -> None:
        uploads = [encode(full_upload({**STANDBY, 0: volts}, AT_REST)) for volts in (230, 231, 232)]
        await self.check(14, 630, *uploads)

    async def test_change_upload(self) -> None:
        """Of a device whose byte order was found out: it stays on trial, which a mask looks after."""
        await self.check(14, 890, *CHANGES)

    async def test_change_upload_whose_byte_order_the_profile_says(self) -> None:
        self.fixed = True
        await self.check(14, 890, *CHANGES)
