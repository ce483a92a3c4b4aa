"""Many simulated devices in one process, each with its own link."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from random import Random
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from zope.interface import implementer

from cmmd.gateway.link.address import Address, EndpointFactory
from cmmd.gateway.link.changes import ByteOrder
from cmmd.gateway.link.link import Link
from cmmd.gateway.link.orders import LinkCounters, at_once
from cmmd.simulator.device import SimulatedDevice
from cmmd.simulator.fault_profiles import FaultProfile, Turn
from cmmd.simulator.genset.genset import Genset
from cmmd.wire.messages import LoginParams

__all__ = ["Fleet", "identities"]

START_GAP_S = 0.002
LONGEST_START_S = 2.0
"""Devices start one by one, all of them within this."""

SUMMARY_INTERVAL_S = 10.0
LOOK_INTERVAL_S = 1.0

# Where gensets stand: latitude, longitude, altitude in metres.
_PLACES = (
    (34.75, 113.62, 110),
    (31.23, 121.47, 4),
    (23.13, 113.26, 21),
    (50.45, 30.52, 179),
    (52.23, 21.01, 100),
    (48.14, 11.58, 520),
    (6.52, 3.38, 41),
    (-1.29, 36.82, 1661),
    (-26.20, 28.05, 1753),
    (25.20, 55.27, 16),
    (14.60, 120.98, 16),
    (-33.45, -70.67, 570),
)


def identities(devices: int, seed: int, model: str) -> Iterator[LoginParams]:
    """Generate the identities of the devices: the same for the same seed.

    :param devices: how many.
    :param model: their controllers' model.
    """
    for number in range(1, devices + 1):
        digest = sha256(f"cmm-sim {seed} {number}".encode()).digest()
        latitude, longitude, altitude = _PLACES[digest[12] % len(_PLACES)]
        yield LoginParams(
            hostid=digest[:12].hex().upper(),
            hostname=f"Sim {number:04}",
            password=f"{int.from_bytes(digest[13:20], 'big') % 1_000_000:06}",
            longitude=f"{longitude + (digest[20] - 128) / 1280:.5f}",
            latitude=f"{latitude + (digest[21] - 128) / 1280:.5f}",
            altitude=f"{altitude + digest[22] % 20}",
            gpsen=1,
            moduletype=model,
            modulePort=2,
            moduleBaud=0,
        )


@implementer(ILogObserver)
class _Troubles:
    """Takes the log of the links: a thousand devices have the same troubles, so only the last one is kept."""

    def __init__(self, observer: ILogObserver) -> None:
        self._observer = observer
        self.last = ""

    def __call__(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.error:
            self._observer(event)  # bugs of the daemon are logged in full
        elif event["log_level"] is LogLevel.warn:
            self.last = str(event["reason"])


class Fleet(MultiService):
    """Runs the devices and says in one line how they are: every ten seconds, and when it changes.

    :param server: where they log in.
    :param devices: how many.
    :param seed: decides who they are and how their gensets are.
    :param model: their controllers'; one that no profile describes shows what the default shows.
    :param data_mode: 0 or 1 overrides what the server orders.
    :param misbehave: how they answer orders, in turn; empty: as they should.
    :param byte_order: of registers in change uploads.
    :param calm: neither mains nor engines fail by themselves, and all gensets stand by at first.
    :param observer: takes the log.
    :ivar counters: what all links together have done.
    """

    def __init__(
        self,
        server: Address,
        *,
        devices: int,
        seed: int,
        model: str,
        data_mode: int | None,
        clock: IReactorTime,
        endpoints: EndpointFactory,
        misbehave: Sequence[Turn] = (),
        calm: bool = False,
        byte_order: ByteOrder = "big",
        observer: ILogObserver = globalLogPublisher,
    ) -> None:
        super().__init__()
        self.counters = LinkCounters()
        self._devices = devices
        self._clock = clock
        self._log = Logger(observer=observer)
        self._troubles = _Troubles(observer)
        self._said: tuple[int, str] = (0, "")  # online, reason
        self._said_at = clock.seconds()
        self._uploads_said = 0
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        gap = min(START_GAP_S, LONGEST_START_S / devices)
        links_log = Logger(namespace=__name__, observer=self._troubles)
        for index, identity in enumerate(identities(devices, seed, model)):
            genset = Genset(
                Random(f"genset {seed} {index}"),  # noqa: S311
                clock.seconds,
                running=False if calm else None,
                mains_schedule=not calm,
                fault_schedule=not calm,
                model=model,
            )
            wrong = FaultProfile(misbehave, Random(f"misbehaviour {seed} {index}")) if misbehave else None  # noqa: S311
            link = Link(
                SimulatedDevice(identity, genset, wrong, byte_order),
                server,
                clock=clock,
                endpoints=endpoints,
                random=Random(f"link {seed} {index}"),  # noqa: S311
                counters=self.counters,
                data_mode=data_mode,
                first_delay=index * gap,
                answers=at_once if wrong is None else wrong.answers,
                log=links_log,
            )
            link.setServiceParent(self)

    def startService(self) -> None:
        """Start all devices, one shortly after the other."""
        super().startService()
        self._looking.start(LOOK_INTERVAL_S, now=False)

    def stopService(self) -> "Deferred[list[Any]]":
        """Close all connections of the fleet.

        :return: fires when they are closed.
        """
        if self._looking.running:
            self._looking.stop()
        stopped: Deferred[list[Any]] = super().stopService()
        return stopped

    def _look(self) -> None:
        now = self._clock.seconds()
        if self.counters.online == self._devices:
            self._troubles.last = ""  # and they are over
        state = (self.counters.online, self._troubles.last)
        if state != self._said or now - self._said_at > SUMMARY_INTERVAL_S - LOOK_INTERVAL_S / 2:
            self._say(now)

    def _say(self, now: float) -> None:
        counters = self.counters
        rate = (counters.uploads - self._uploads_said) / max(now - self._said_at, LOOK_INTERVAL_S)
        self._said = (counters.online, self._troubles.last)
        self._said_at = now
        self._uploads_said = counters.uploads
        self._log.info(
            "{online} of {devices} devices online, {rate:.0f} uploads/s, {uploads} uploads, {refused} of them refused,"
            " {commands} commands, {failures} failures{trouble}",
            online=counters.online,
            devices=self._devices,
            rate=rate,
            uploads=counters.uploads,
            refused=counters.refused,
            commands=counters.commands,
            failures=counters.failures,
            trouble=f" (last: {self._troubles.last})" if self._troubles.last else "",
        )
