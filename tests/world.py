"""A whole server side in memory: every part is the real one but the clock, the store and the transport."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from cmmd.controllers.catalog import load_catalog
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.devices.enrolment import AcceptRules
from cmmd.fleet.devices.networks import Networks
from cmmd.fleet.devices.passwords import Passwords
from cmmd.fleet.devices.registry import Policy
from cmmd.fleet.devices.strangers import Strangers
from cmmd.fleet.fleet import CommandTerms, Fleet
from cmmd.fleet.history.journal import BATCH_S
from cmmd.server.context import Context
from cmmd.server.door import DeviceDoor, DeviceDoorTerms
from cmmd.server.login import Advertised, LoginHandler, UploadTerms
from cmmd.server.peer_log import PeerLog
from cmmd.server.receiver import Limits
from cmmd.server.session import Session
from cmmd.store.interface import IStore, Snapshot
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Event
from cmmd.wire.messages import LoginParams
from tests.transports import SegmentTransport

__all__ = ["HOSTID", "World", "login_params"]

HOSTID = "3439333633355115004B003D"
START_S = 1_700_872_746.5
RETENTION_DAYS = 400
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

    :param store: memory by default. :param kept: what it had, where it is open already.
    :ivar events: all that have been told.
    :ivar scrypts: how many costly password computations there were.
    :ivar held: those that wait, where they are held; None: they are not.
    """

    def __init__(
        self,
        *,
        store: IStore | None = None,
        kept: Snapshot | None = None,
        policy: Policy = "open",
        max_devices: int = 100,
        limits: Limits | None = None,
        terms: UploadTerms | None = None,
        advertised: Advertised | None = None,
        interval_s: float = 60.0,
        commands: CommandTerms | None = None,
        start_s: float = START_S,
        reconnect_grace_s: float = 0.0,
        door: DeviceDoorTerms | None = None,
        unknown_per_minute: int = 20,
        exempt: Networks | None = None,
        accept: AcceptRules | None = None,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(start_s)
        self.store: IStore = store or MemoryStore()
        self.counters = Counters()
        self.scrypts = 0
        self.held: list[tuple[Deferred[Any], Callable[[], Any]]] | None = None
        self.passwords = Passwords(self._compute, 2, self.clock)
        self.fleet = Fleet(
            store=self.store,
            kept=kept or _opened(self.store),
            catalog=CATALOG,
            passwords=self.passwords,
            now=self.clock.seconds,
            clock=self.clock,
            counters=self.counters,
            policy=policy,
            max_devices=max_devices,
            interval_s=interval_s,
            retention_days=RETENTION_DAYS,
            commands=commands or CommandTerms(),
            reconnect_grace_s=reconnect_grace_s,
            accept=accept,
            strangers=Strangers(self.clock, unknown_per_minute, exempt),
        )
        self.throttle = self.fleet.throttle
        self.registry = self.fleet.registry
        self.presence = self.fleet.presence
        self.events: list[Event] = []
        self.fleet.events.subscribe(self.events.append)
        self.around = Context(
            limits=limits or Limits(),
            clock=self.clock,
            now=self.clock.seconds,
            door=DeviceDoor(
                self.registry, self.fleet.events, self.fleet.strangers, self.clock.seconds, door or DeviceDoorTerms()
            ),
            presence=self.presence,
            uploads=self.fleet.uploads,
            history_rights=self.fleet.history_rights,
            events=self.fleet.events,
            desk=LoginHandler(
                self.registry,
                self.fleet.logged_in,
                self.fleet.may_set_port,
                self.fleet.events,
                terms or UploadTerms(),
                advertised or Advertised(),
                self.clock.seconds,
                self.counters,
            ),
            counters=self.counters,
            peer_log=PeerLog(self.clock),
            ours=self.fleet.uids.ours,
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

    def write_batch(self) -> None:
        """Let what is to be kept reach the store, and those who wait for it hear so."""
        self.clock.advance(BATCH_S)

    def connect(self, *, carries_commands: bool = True, peer: str = "192.0.2.7") -> SegmentTransport:
        """A new connection."""
        session = Session(self.around, carries_commands=carries_commands)
        transport = SegmentTransport(session, peer, self.clock.seconds)
        transport.connect()
        return transport

    def register(self, hostid: str = HOSTID, **changed: object) -> None:
        """Have a device registered."""
        done = Deferred.fromCoroutine(self.registry.login(login_params(hostid, **changed), "192.0.2.7"))
        assert done.called, "registration waits for something"
        done.addErrback(lambda failure: failure.raiseException())


def _opened(store: IStore) -> Snapshot:
    """Open a store that does not wait."""
    opened: list[Snapshot] = []
    store.open().addCallback(opened.append)
    return opened[0]
