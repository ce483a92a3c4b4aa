"""A gateway between a controller and a server, all in memory: only the clock, the line and the network are not real.

The controller is pymodbus' (:mod:`tests.bus_world`), so what is read here was never written by our own Modbus code.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, cast

from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.fleet.commands.queue import Requester, Submitted
from cmmd.fleet.commands.requests import Modbus, Named, Reset
from cmmd.fleet.history.history import NamedReading
from cmmd.gateway.bus import Bus, Line, Port, PortError, PortUser
from cmmd.gateway.link.address import Address
from cmmd.gateway.link.link import Link
from cmmd.gateway.link.source import InputStates
from cmmd.gateway.poller import BusSource
from cmmd.gateway.store_and_forward.buffer import Buffer
from cmmd.gateway.store_and_forward.store_and_forward import OutageTerms
from cmmd.server.session import Session
from cmmd.store.records import Command, Event, Query
from cmmd.wire.messages import LoginParams
from tests.bus_world import ANSWER_DELAY_S, Controller
from tests.fake_bus import FakeWiring
from tests.prompt_worker import PromptWorker
from tests.scripted_server import run
from tests.transports import MemoryTransport, SegmentTransport
from tests.world import CATALOG, HOSTID, World, login_params

__all__ = ["HISTORIC", "LIVE", "START_S", "Cable", "GatewayWorld", "Genset", "Network"]

START_S = 1_790_000_000.0
LIVE = Address("cmmd.example", 21318)
HISTORIC = Address("cmmd.example", 21319)
LATENCY_S = 0.02

WRITE_COIL = 5
BY = Requester("alice", "test", "engineer")
MODES = {1: 43, 2: 40, 3: 41, 4: 42}
"""Coils to write, and the modes that they choose: stop, test, auto, manual."""


class Genset(Controller):
    """A controller whose registers and coils the test sets.

    :ivar registers: by address; others are 0. :ivar coils: those that are on; a mode that is written is among them.
    :ivar asked: how many requests it has had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.registers: dict[int, int] = {}
        self.coils: set[int] = set()
        self.asked = 0

    def register(self, address: int) -> int:
        return self.registers.get(address, 0)

    def coil(self, address: int) -> bool:
        return address in self.coils

    def answer(self, frame: bytes) -> bytes | None:
        self.asked += 1
        before = len(self.written)
        answer = super().answer(frame)
        for function, address, _ in self.written[before:]:
            if function == WRITE_COIL and address in MODES:
                self.coils = self.coils - set(MODES.values()) | {MODES[address]}
        return answer


class Cable:
    """The line to it: a port that is there, or not.

    :ivar plugged: False: the port cannot be opened.
    :ivar drops: which answers get lost: told the request, says so.
    :ivar delay_s: from a request to its answer.
    """

    def __init__(self, clock: Clock, genset: Genset) -> None:
        self._clock = clock
        self._genset = genset
        self._ports: list[_Port] = []
        self.plugged = True
        self.drops: Callable[[bytes], bool] = lambda _: False
        self.delay_s = ANSWER_DELAY_S

    def open(self, line: Line, user: PortUser) -> Deferred[Port]:
        if not self.plugged:
            return fail(PortError("no such device"))
        self._ports = [_Port(self, user)]
        return succeed(cast("Port", self._ports[0]))

    def pull(self) -> None:
        """Out."""
        self.plugged = False
        for port in self._ports:
            port.lose()

    def carry(self, port: "_Port", frame: bytes) -> None:
        answer = self._genset.answer(frame)
        if answer is not None and not self.drops(frame):
            self._clock.callLater(self.delay_s, port.bring, answer)


class _Port:
    def __init__(self, cable: Cable, user: PortUser) -> None:
        self._cable = cable
        self._user = user
        self._open = True

    def write(self, frame: bytes) -> None:
        assert self._open
        self._cable.carry(self, frame)

    def drop_unsent(self) -> None:
        """It sends at once."""

    def close(self) -> Deferred[None]:
        self._open = False
        return succeed(None)

    def bring(self, chunk: bytes) -> None:
        if self._open:
            self._user.received(chunk)

    def lose(self) -> None:
        if self._open:
            self._user.lost("the device is gone")


class _ServerSide(SegmentTransport):
    """The server's end: one segment a turn, and turns follow by themselves."""

    def __init__(self, network: "Network", session: Session) -> None:
        super().__init__(session, seconds=network.clock.seconds)
        self._network = network
        self._turning = False
        self._arrived: deque[Callable[[], None]] = deque()
        self.client: _ClientSide | None = None

    def arrive(self, what: Callable[[], None]) -> None:
        """Bytes, or the end, have come: they are noticed when the server reads."""
        self._arrived.append(what)
        self.soon()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.soon()

    def write(self, data: bytes) -> None:
        super().write(data)
        self.soon()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        self.soon()

    def loseWriteConnection(self) -> None:
        super().loseWriteConnection()
        self._network.clock.callLater(2 * LATENCY_S, self._closed)

    def loseConnection(self) -> None:
        super().loseConnection()
        self._network.clock.callLater(2 * LATENCY_S, self._closed)

    def abortConnection(self) -> None:
        super().abortConnection()
        self._network.clock.callLater(2 * LATENCY_S, self._closed)

    def _closed(self) -> None:
        if self.client is not None:
            self.client.lose(error.ConnectionDone())

    def soon(self) -> None:
        """Let a turn of the reactor pass, soon."""
        if not self._turning:
            self._turning = True
            self._network.clock.callLater(0, self._turn_now)

    def _turn_now(self) -> None:
        self._turning = False
        while self._arrived and self.producerState == "producing" and not self.lost:
            self._arrived.popleft()()
        self.turns()
        for segment in self.segments:
            self._network.clock.callLater(LATENCY_S, self._deliver_to_client, segment)
        del self.segments[:], self.left_at[:]

    def _deliver_to_client(self, segment: bytes) -> None:
        if self.client is not None and not self._network.dead:
            self.client.receive(segment)


class _ClientSide(MemoryTransport):
    """The gateway's end."""

    def __init__(self, network: "Network", server: _ServerSide, client: IProtocol) -> None:
        super().__init__(client)
        self._network = network
        self._server = server

    def write(self, data: bytes) -> None:
        if not self._network.dead:
            self._network.clock.callLater(LATENCY_S, self._deliver, data)

    def closing(self, why: Exception) -> None:
        self._network.clock.callLater(0, self.lose, why)

    def _deliver(self, data: bytes) -> None:
        self._server.arrive(lambda: self._server.protocol.dataReceived(data))

    def receive(self, segment: bytes) -> None:
        if not self.lost:
            self.protocol.dataReceived(segment)

    def lose(self, why: Exception | None = None) -> None:
        if not self.lost:
            self._network.connections.remove(self)
            super().lose(why)
            self._network.clock.callLater(2 * LATENCY_S, self._server.arrive, self._server.hang_up)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, network: "Network", address: Address) -> None:
        self._network = network
        self._address = address

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":  # noqa: N803 - Twisted's name
        return self._network.connect(self._address, protocolFactory)


class Network:
    """The way from the gateway to the server.

    :ivar up: whether connections can be made. :ivar dead: what is sent gets lost, and nobody notices.
    :ivar connections: that stand. :ivar made: how many there were, by port.
    """

    def __init__(self, clock: Clock, world: World) -> None:
        self.clock = clock
        self.world = world
        self.up = True
        self.dead = False
        self.connections: list[_ClientSide] = []
        self.made = {LIVE.port: 0, HISTORIC.port: 0}

    def endpoint(self, address: Address) -> IStreamClientEndpoint:
        return _Endpoint(self, address)

    def connect(self, address: Address, factory: IProtocolFactory) -> "Deferred[IProtocol]":
        if not self.up:
            return fail(error.ConnectionRefusedError())
        session = Session(self.world.around, carries_commands=address.port == LIVE.port)
        server = _ServerSide(self, session)
        client = factory.buildProtocol(server.getPeer())
        assert client is not None
        self.made[address.port] += 1
        server.client = _ClientSide(self, server, client)
        self.connections.append(server.client)
        server.connect()
        client.makeConnection(server.client)
        return succeed(client)

    def cut(self) -> None:
        """The line breaks, and both sides notice."""
        self.up = False
        for connection in list(self.connections):
            connection.lose(error.ConnectionLost())


class GatewayWorld:
    """All of it.

    :param path: of the gateway's buffer. :param settings: of the server's :class:`tests.world.World`.
    :ivar inputs: of the gateway.
    :ivar allows_history: its owner lets it upload history as soon as it has logged in.
    """

    def __init__(self, path: Path, *, line: Line | None = None, seed: int = 1, **settings: Any) -> None:
        self.server = World(start_s=START_S, **settings)
        self.allows_history = True
        self.server.fleet.events.subscribe(self._allow_history)
        self.clock = self.server.clock
        self.genset = Genset()
        self.cable = Cable(self.clock, self.genset)
        self.network = Network(self.clock, self.server)
        self.wiring = FakeWiring()
        self.inputs = InputStates()
        self.log_lines: list[Any] = []
        log = Logger(observer=self.log_lines.append)  # type: ignore[arg-type]
        self.bus = Bus(
            line or Line(url="/dev/ttyUSB0"), clock=self.clock, open_port=self.cable.open, random=Random(seed), log=log
        )
        self.source = BusSource(
            self._identity, self.bus, wiring=self.wiring, inputs=lambda: self.inputs, catalog=CATALOG, log=log
        )
        self.buffer = Buffer(path, PromptWorker(), log=log)
        self.link = Link(
            self.source,
            LIVE,
            clock=self.clock,
            endpoints=self.network.endpoint,
            random=Random(seed),
            outages=OutageTerms(buffer=self.buffer, ticks=self.clock.seconds, boot="boot"),
            log=log,
        )

    def _identity(self) -> LoginParams:
        return login_params()

    def _allow_history(self, event: Event) -> None:
        if event.kind == "device_registered" and self.allows_history:
            self.allow_history()

    def allow_history(self) -> None:
        """Do what the gateway's owner does at the server."""
        Deferred.fromCoroutine(self.server.registry.set(login_params().hostid, "owner", history=True))

    def start(self, seconds: float = 10.0) -> None:
        self.bus.start()
        self.link.startService()
        run(self.clock, seconds)

    def stop(self) -> None:
        """Stop all of it, if it runs; whoever is still waiting is a leak."""
        if not self.link.running:
            return
        stopped = self.link.stopService()
        bus = Deferred.fromCoroutine(self.bus.stop())
        run(self.clock, 5.0)
        assert stopped is not None
        assert stopped.called, "the link does not stop"
        assert bus.called, "the bus does not stop"

    def run(self, seconds: float) -> None:
        run(self.clock, seconds)

    @property
    def known(self) -> Any:
        """What the server's live record knows for certain."""
        return self.server.fleet.live[HOSTID].known

    def readings(self) -> list[NamedReading]:
        found: list[NamedReading] = []
        cursor = None
        while True:
            page = Deferred.fromCoroutine(
                self.server.fleet.history.page(Query(hostid=HOSTID, limit=1000, after=cursor))
            )
            assert page.called
            result = cast("Any", page.result)
            found += result.readings
            cursor = result.after
            if cursor is None:
                return found

    def said(self, text: str) -> int:
        """How many lines of the gateway's log have this in them."""
        return sum(text in line["log_format"] for line in self.log_lines if line.get("log_format"))

    def send(self, name: str) -> "Sent":
        """Have the server command something."""
        asked = Deferred.fromCoroutine(self.server.fleet.dispatch.submit(HOSTID, Named(name=name), BY))
        return Sent(asked)

    def write(self, frames: str) -> "Sent":
        """Have the server write something."""
        return Sent(Deferred.fromCoroutine(self.server.fleet.dispatch.submit(HOSTID, Modbus(frames=frames), BY)))

    def reset(self) -> "Sent":
        """Have the server reset the gateway."""
        return Sent(Deferred.fromCoroutine(self.server.fleet.dispatch.submit(HOSTID, Reset(), BY)))


class Sent:
    """A command that the server was asked for.

    :ivar command: how it ended; None: it has not. :ivar refusal: why it was not accepted.
    """

    def __init__(self, asked: "Deferred[Submitted]") -> None:
        self.command: Command | None = None
        self.refusal: BaseException | None = None
        asked.addCallbacks(self._accepted, self._refused)

    @property
    def outcome(self) -> str | None:
        return None if self.command is None else self.command.outcome

    def _accepted(self, submitted: Submitted) -> None:
        submitted.ended.addCallback(self._ended)

    def _ended(self, command: Command) -> Command:
        self.command = command
        return command

    def _refused(self, failure: Failure) -> None:
        self.refusal = failure.value
