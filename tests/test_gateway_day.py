"""Hours of a gateway, on a simulated clock: no drift, no leak, no stall, whatever happens to it. A day: tests_slow.

The controller is pymodbus', the server is the real one; only clock, line and network are in memory.
"""

import gc
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from types import CoroutineType

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.protocols.amp import AMP
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.acknowledgements import MOST_REMEMBERED
from cmmd.gateway.link.source import InputStates
from cmmd.modbus.frames import Function
from cmmd.server.login import Advertised, UploadTerms
from tests.gateway_world import HISTORIC, LIVE, GatewayWorld
from tests.uploads import AT_REST, STANDBY
from tests.world import HOSTID

HOUR_S = 3600
PERIOD_S = 3
CYCLES_AN_HOUR = HOUR_S // PERIOD_S
HISTORY_INTERVAL_S = 60
FREQUENCY = 6
"""The register that tells when it was read: it counts cycles."""


def objects() -> Counter[str]:
    """What a leak would be made of: how many there are."""
    gc.collect()
    kinds = (Deferred, DelayedCall, CoroutineType)
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        if isinstance(one, AMP) and one._outstandingRequests:
            # A worker of trial -j sends each log line to its master, and reads no answer while a test runs.
            found[Deferred.__name__] -= len(one._outstandingRequests)
        if isinstance(one, kinds) or str(kind.__module__).startswith("cmmd.gateway"):
            found[kind.__name__] += 1
    return found


class DayTests(SynchronousTestCase):
    hours = 2
    trouble_s = 2400
    """How long each trouble is watched: it lasts for half an hour at most."""
    troubles_of_changes = 3
    """How many of the troubles are watched in change mode."""

    def make(self, data_mode: int = 1) -> GatewayWorld:
        terms = UploadTerms(data_mode=data_mode)
        world = GatewayWorld(Path(self.mktemp()), advertised=Advertised(str(LIVE), str(HISTORIC)), terms=terms)
        world.genset.registers = dict(STANDBY)
        world.genset.coils = set(AT_REST)
        self.polled: list[float] = []
        answer = world.genset.answer

        def noting(frame: bytes) -> bytes | None:
            if frame[1] == Function.READ_COILS and frame[3] == 0:  # the first request of the plan
                self.polled.append(world.clock.seconds())
                world.genset.registers[FREQUENCY] = 4500 + len(self.polled) % 1000
            return answer(frame)

        self.patch(world.genset, "answer", noting)
        self.addCleanup(world.stop)
        return world

    def settled(self, world: GatewayWorld) -> Counter[str]:
        """What there is at a moment between two cycles."""
        self.assertEqual(world.link.counters.online, 1)
        while self.polled[-1] > world.clock.seconds() - 1 or self.polled[-1] < world.clock.seconds() - 2:
            world.run(0.1)
        found = objects()
        for kind in ("_Taken", "_Answered"):  # orders, whose acknowledgements may come late
            self.assertLessEqual(found.pop(kind, 0), MOST_REMEMBERED)
        return found

    def test_undisturbed(self) -> None:
        world = self.make()
        world.start(HOUR_S)
        before = self.settled(world)
        count, uploads = len(self.polled), world.link.counters.uploads
        world.run((self.hours - 1) * HOUR_S)
        self.assertEqual(len(self.polled) - count, (self.hours - 1) * CYCLES_AN_HOUR, "every cycle, and none more")
        self.assertEqual(world.link.counters.uploads - uploads, (self.hours - 1) * CYCLES_AN_HOUR)
        self.assertEqual(world.source.cycles, len(self.polled))
        for number, time in enumerate(self.polled):
            self.assertLess(abs(time - self.polled[0] - number * PERIOD_S), 0.01, "no drift")
        self.assertEqual(self.settled(world), before, "no leak")
        counters, bus = world.link.counters, world.bus.statistics
        self.assertEqual((counters.logins, counters.failures, counters.refused), (1, 0, 0))
        self.assertEqual((bus.timeouts, bus.crc_errors, bus.bytes_discarded, bus.late_answers), (0, 0, 0, 0))
        self.assertEqual(world.server.fleet.live[HOSTID].known.register(FREQUENCY), world.genset.register(FREQUENCY))
        readings = [one.reading for one in world.readings()]
        gaps = {round(later.at - earlier.at, -2) for earlier, later in pairwise(readings)}
        self.assertEqual(gaps, {63_000}, "the history of the day, evenly")
        self.assertEqual(len(readings), self.hours * HOUR_S // 63 + 1)

    def test_with_all_that_may_happen(self) -> None:
        world = self.make()
        world.start(HOUR_S)
        before = self.settled(world)
        random = Random("a day")
        for hour in range(1, self.hours):
            if hour % 4 == 0:
                begun = len(self.polled)
                world.run(HOUR_S)
                self.assertIn(len(self.polled) - begun, (CYCLES_AN_HOUR - 1, CYCLES_AN_HOUR, CYCLES_AN_HOUR + 1))
            else:
                self.disturb(world, TROUBLES[hour % len(TROUBLES)], random, self.trouble_s)
        self.assertEqual(self.settled(world), before, "no leak")
        self.assert_nothing_wrong(world)
        self.assert_history(
            world, len([hour for hour in range(1, self.hours) if hour % 4 and hour % len(TROUBLES) == 2])
        )

    def test_in_change_mode(self) -> None:
        world = self.make(data_mode=0)
        world.start(HOUR_S)
        before, full = self.settled(world), world.server.counters.uploads["full"]
        self.assertEqual(full, 1, "a full set, and then changes alone")
        random = Random("changes")
        troubles = TROUBLES[: self.troubles_of_changes]
        for trouble in troubles:
            self.disturb(world, trouble, random, self.trouble_s)
            for address in [*range(45), *range(46, 56)]:
                self.assertEqual(world.known.register(address), world.genset.register(address), f"register {address}")
            for address in range(90):
                self.assertEqual(world.known.coil(address), world.genset.coil(address), f"coil {address}")
        self.assertEqual(self.settled(world), before, "no leak")
        self.assert_nothing_wrong(world)
        self.assertEqual(world.server.counters.packet_gaps, 0)
        self.assert_history(world, troubles.count(cable))

    def disturb(
        self, world: GatewayWorld, trouble: Callable[[GatewayWorld, Random], None], random: Random, seconds: int
    ) -> None:
        """Some time with some trouble in it."""
        begun = len(self.polled)
        end = world.clock.seconds() + seconds
        world.run(random.uniform(60, 600))
        trouble(world, random)
        world.run(end - world.clock.seconds())
        self.assertGreater(len(self.polled) - begun, seconds // PERIOD_S // 2, "no stall")
        self.assertLess(len(self.polled) - begun, seconds // PERIOD_S * 1.02, "none stacked")
        self.assertEqual(world.link.counters.online, 1, "it is back")
        self.assertEqual(world.buffer.rows, 0, "what was kept is sent")

    def assert_nothing_wrong(self, world: GatewayWorld) -> None:
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertGreaterEqual(world.source.cycles, len(self.polled), "with the cable out, nobody hears them")
        self.assertEqual(dict(world.server.counters.peer_errors), {})
        self.assertEqual(world.server.counters.frames["bad_crc"], 0)  # type: ignore[index]

    def assert_history(self, world: GatewayWorld, cables_out: int) -> None:
        """Of every minute in which the controller answered there is a reading, outages or not, and it is true."""
        readings = [one.reading for one in world.readings()]
        times = [one.at / 1000 for one in readings]
        longest = HISTORY_INTERVAL_S + 3 * PERIOD_S
        gaps = [(earlier, later) for earlier, later in pairwise(times) if later - earlier > longest]
        self.assertEqual(len(gaps), cables_out, "but while the cable was out")
        polled = {4500 + number % 1000: [] for number in range(1000)}  # type: ignore[var-annotated]
        for number, time in enumerate(self.polled, 1):
            polled[4500 + number % 1000].append(time)
        for one in world.readings():
            frequency = one.points["mains_frequency"]
            if frequency is not None:
                near = min(abs(time - one.reading.at / 1000) for time in polled[round(frequency * 100)])
                self.assertLess(near, 1.0, "at its time")


def cut(world: GatewayWorld, random: Random) -> None:
    """The network is gone for a while, and everybody notices."""
    world.network.cut()
    world.run(random.uniform(30, 1200))
    world.network.up = True


def dead(world: GatewayWorld, random: Random) -> None:
    """The network swallows everything, and nobody notices."""
    world.network.dead = True
    world.run(random.uniform(30, 1200))
    world.network.dead = False


def cable(world: GatewayWorld, random: Random) -> None:
    """The adapter is unplugged."""
    world.cable.pull()
    world.run(random.uniform(200, 600))
    world.cable.plugged = True


def reset(world: GatewayWorld, random: Random) -> None:
    """Somebody resets the gateway, again and again."""
    for _ in range(5):
        sent = world.reset()
        world.run(random.uniform(12, 60))  # within 10 s it would be taken for an acknowledgement of the one before
        assert sent.outcome == "done", sent.outcome


def inputs(world: GatewayWorld, random: Random) -> None:
    """The door opens and closes, in an outage, too."""
    world.network.cut()
    for state in (1, 0, 1, 0):
        world.inputs = InputStates(access_alarm=state)
        world.run(random.uniform(5, 60))
    world.network.up = True


def commands(world: GatewayWorld, random: Random) -> None:
    """Somebody commands all the time."""
    for name in ("manual", "auto") * 20:
        sent = world.send(name)
        world.run(random.uniform(10, 20))
        assert sent.outcome == "done", sent.outcome


TROUBLES: list[Callable[[GatewayWorld, Random], None]] = [cut, dead, cable, reset, inputs, commands]
