"""A whole server side in memory: every part is the real one but the clock, the store and the transport."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from cmmd.controllers.catalog import load_catalog
from cmmd.fleet.passwords import Passwords
from cmmd.fleet.presence import Presence
from cmmd.fleet.registry import Policy, Registry
from cmmd.fleet.tally import Tally
from cmmd.fleet.throttle import Throttle
from cmmd.server.login import Advertised, LoginDesk, UploadTerms
from cmmd.server.peerlog import PeerLog
from cmmd.server.receiver import Limits
from cmmd.server.session import Session, Surroundings
from cmmd.store.interface import IStore
from cmmd.store.memory import MemoryStore
from cmmd.wire.messages import LoginParams
from tests.transports import SegmentTransport

__all__ = ["HOSTID", "World", "login_params"]

HOSTID = "3439333633355115004B003D"
START_S = 1_700_872_746.5
CATALOG = load_catalog()


def login_params(hostid: str = HOSTID, **changed: object) -> LoginParams:
    """What a device says at login."""
    said: dict[str, object] = {
        "hostid": hostid,
        "hostname": "Genset 1",
        "password": "123456",
        "moduletype": "HGM6120N",
        "modulePort": 2,
        "moduleBaud": 0,
        **changed,
    }
    return LoginParams(**said)  # type: ignore[arg-type]


class World:
    """What sessions work with, and sessions.

    :param store: memory by default.
    :ivar scrypts: how many costly password computations there were.
    :ivar held: those that wait, where they are held; None: they are not.
    """

    def __init__(
        self,
        *,
        store: IStore | None = None,
        policy: Policy = "open",
        max_devices: int = 100,
        limits: Limits | None = None,
        terms: UploadTerms | None = None,
        advertised: Advertised | None = None,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(START_S)
        self.store: IStore = store or MemoryStore()
        self.tally = Tally()
        self.presence = Presence(self.clock)
        self.scrypts = 0
        self.held: list[tuple[Deferred[Any], Callable[[], Any]]] | None = None
        self.throttle = Throttle(self.clock)
        self.passwords = Passwords(self._compute, 2)
        self.registry = Registry(
            store=self.store,
            devices=[],
            passwords=self.passwords,
            throttle=self.throttle,
            now=self.clock.seconds,
            clock=self.clock,
            policy=policy,
            max_devices=max_devices,
        )
        self.around = Surroundings(
            limits=limits or Limits(),
            clock=self.clock,
            now=self.clock.seconds,
            registry=self.registry,
            presence=self.presence,
            desk=LoginDesk(
                self.registry,
                CATALOG,
                terms or UploadTerms(),
                advertised or Advertised(),
                self.clock.seconds,
                self.tally,
            ),
            tally=self.tally,
            peerlog=PeerLog(self.clock),
        )

    def _compute(self, work: Callable[[], Any]) -> Deferred[Any]:
        self.scrypts += 1
        if self.held is None:
            return maybeDeferred(work)
        computed: Deferred[Any] = Deferred()
        self.held.append((computed, work))
        return computed

    def hold_passwords(self) -> None:
        """Let password computations wait, as they do when there are many."""
        self.held = []

    def release_passwords(self) -> None:
        """Carry out what waits, and from now on everything at once."""
        held, self.held = self.held or [], None
        for computed, work in held:
            computed.callback(work())

    def connect(self, *, carries_commands: bool = True, peer: str = "192.0.2.7") -> SegmentTransport:
        """A new connection."""
        transport = SegmentTransport(Session(self.around, carries_commands=carries_commands), peer)
        transport.connect()
        return transport

    def register(self, hostid: str = HOSTID) -> None:
        """Have a device registered."""
        done = Deferred.fromCoroutine(self.registry.login(login_params(hostid), "192.0.2.7"))
        assert done.called, "registration waits for something"
        done.addErrback(lambda failure: failure.raiseException())
