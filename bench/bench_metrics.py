"""What scrapes cost: reactor time in total, at once, and what devices notice meanwhile.

``python bench/bench_metrics.py [DEVICES]``

That many devices with a complete image of an HGM6120N each stand in the fleet; 100 others are really connected, from a
process of their own, and upload twice a second. Then both endpoints are made by hand, and scraped over a socket by one
client and by as many at once as there may be.
"""

import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import Site

from cmmd.process import calm_collector
from cmmd.server.listeners import DeviceListeners, Listener, Role
from cmmd.web.metrics.device_metrics import MOST_AT_ONCE, DeviceMetricsResource
from cmmd.web.metrics.families import Watched
from cmmd.web.metrics.lag import ReactorLag
from cmmd.web.metrics.metrics import MetricsResource, new_registry
from tests.daemon import endpoint, service_port
from tests.steady_fleet import SteadyFleet
from tests.uploads import AT_REST, HGM6120N_PLAN, STANDBY, full_upload
from tests.world import HOSTID, World

reactor = cast("Any", installed_reactor)

DEVICES = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
STEADY = 100
ROUNDS = 7
SCRAPES = 10
WIDE = 66

SCRAPE = """
import sys, time, urllib.request
begun = time.monotonic()
asked = urllib.request.Request(sys.argv[1], headers={"Accept-Encoding": sys.argv[2]})
with urllib.request.urlopen(asked, timeout=60) as answer:
    size = len(answer.read())
print(size, time.monotonic() - begun)
"""


def fleet_of(count: int) -> World:
    """Devices that have all uploaded, each something else."""
    world = World(max_devices=count + STEADY + 1)
    world.register()
    device = world.registry.device(HOSTID)
    assert device is not None
    random = Random(1)
    for number in range(count):
        hostid = f"{number:024X}"
        world.registry._devices[hostid] = replace(device, hostid=hostid, number=number + 2, hostname=f"Genset {number}")
        registers = {
            **STANDBY,
            **{address: random.randrange(100, 240) for address in (7, 8, 9, 13, 14, 15, 17, 19, 26, 30, 43, 47)},
            23: 1500,
            34: 9,
        }
        world.fleet.uploads.full(full_upload(registers, AT_REST, hostid), HGM6120N_PLAN, historic=False)
        if number % 100 == 99:
            world.write_batch()
    world.write_batch()
    return world


def by_hand(name: str, resource: DeviceMetricsResource, *, compress: bool) -> None:
    """Make all of it, and take the CPU time of each piece; of several rounds the median one."""
    totals, worst, size = [], [], 0
    for _ in range(ROUNDS):
        gzip = zlib.compressobj(1, zlib.DEFLATED, 31) if compress else None
        times, size = [], 0
        pieces = resource.pieces(openmetrics=True)
        while True:
            begun = time.thread_time()
            piece = next(pieces, None)
            if piece is None:
                break
            encoded = piece.encode()
            size += len(encoded if gzip is None else gzip.compress(encoded))
            times.append(time.thread_time() - begun)
        totals.append(sum(times))
        worst.append(max(times))
    print(f"{f'{name}: in total, ms of CPU':<{WIDE}}{median(totals) * 1000:>9.1f}")
    print(f"{f'{name}: the longest piece, ms of CPU (20 are allowed)':<{WIDE}}{median(worst) * 1000:>9.2f}")
    print(f"{f'{name}: size, MB':<{WIDE}}{size / 1e6:>9.1f}")


def small(name: str, generate: Callable[[CollectorRegistry], bytes], registry: CollectorRegistry) -> None:
    times = []
    for _ in range(ROUNDS * 3):
        begun = time.thread_time()
        generate(registry)
        times.append(time.thread_time() - begun)
    print(f"{f'{name}, ms of CPU (50 are allowed)':<{WIDE}}{median(times) * 1000:>9.2f}")


class HeldUp:
    """How long the reactor did not come round, looked at as often as may be.

    Its CPU time tells what it did itself; the time of day has what the machine did meanwhile in it, too.
    """

    def __init__(self) -> None:
        self._worst = self._worst_cpu = 0.0
        self._before, self._cpu_before = time.monotonic(), time.thread_time()
        self._calls = LoopingCall(self._look)
        self._calls.start(0.001)

    def _look(self) -> None:
        now, cpu = time.monotonic(), time.thread_time()
        self._worst = max(self._worst, now - self._before - 0.001)
        self._worst_cpu = max(self._worst_cpu, cpu - self._cpu_before)
        self._before, self._cpu_before = now, cpu

    def since_last(self) -> str:
        """The worst since the last time, milliseconds: of CPU, and of the day."""
        cpu, day = self._worst_cpu, self._worst
        self._worst = self._worst_cpu = 0.0
        return f"{cpu * 1000:>9.1f}{day * 1000:>9.1f}"


async def scrape(url: str, coding: str) -> tuple[int, float]:
    """Have a process of its own scrape; its size and the seconds that it took."""
    done = await deferToThread(
        subprocess.run, [sys.executable, "-c", SCRAPE, url, coding], capture_output=True, text=True, check=True
    )
    size, seconds = done.stdout.split()
    return int(size), float(seconds)


async def scraped(name: str, url: str, coding: str, at_once: int, held_up: HeldUp, steady: SteadyFleet) -> None:
    await deferToThread(steady.report)
    held_up.since_last()
    seconds: list[float] = []
    for _ in range(SCRAPES):
        each = [Deferred.fromCoroutine(scrape(url, coding)) for _ in range(at_once)]
        seconds += [one[1] for one in await gatherResults(each)]
        await deferLater(reactor, 0.2)
    held, report = held_up.since_last(), await deferToThread(steady.report)
    print(f"{f'{name}: a scrape, ms':<{WIDE}}{median(seconds) * 1000:>9.1f}")
    print(f"{f'{name}: reactor held up at most, ms of CPU, ms':<{WIDE}}{held}")
    print(f"{f'{name}: answers to {STEADY} devices, p99, ms':<{WIDE}}{report.p99_ms:>9.1f}")
    if report.faults:
        print(f"    {report.faults[:3]}")


async def over_sockets(world: World, registry: CollectorRegistry, resource: DeviceMetricsResource) -> None:
    device_port, web_port = service_port(), service_port()
    passing = LoopingCall(lambda: world.clock.advance(0.05))
    passing.start(0.05)
    sessions = DeviceListeners(replace(world.around, clock=reactor), 1000)
    here = endpoint(device_port)
    await sessions.listen([Listener(here, serverFromString(reactor, here), frozenset(Role))])
    root, metrics = Resource(), MetricsResource(registry)
    root.putChild(b"metrics", metrics)
    metrics.putChild(b"devices", resource)
    await serverFromString(reactor, endpoint(web_port)).listen(Site(root))
    url = f"http://127.0.0.1:{web_port}/metrics"
    steady = await deferToThread(lambda: SteadyFleet(device_port, STEADY).__enter__())
    held_up = HeldUp()
    await deferLater(reactor, 2)
    await deferToThread(steady.report)
    held_up.since_last()
    await deferLater(reactor, 5)
    report = await deferToThread(steady.report)
    print(f"{'nobody scrapes: reactor held up at most, ms of CPU, ms':<{WIDE}}{held_up.since_last()}")
    print(f"{f'nobody scrapes: answers to {STEADY} devices, p99, ms':<{WIDE}}{report.p99_ms:>9.1f}")
    await scraped("/metrics", url, "gzip", 1, held_up, steady)
    await scraped("/metrics/devices", f"{url}/devices", "identity", 1, held_up, steady)
    await scraped("/metrics/devices, gzip", f"{url}/devices", "gzip", 1, held_up, steady)
    several = f"/metrics/devices, gzip, {MOST_AT_ONCE} at once"
    await scraped(several, f"{url}/devices", "gzip", MOST_AT_ONCE, held_up, steady)
    await deferToThread(steady.__exit__, None, None, None)
    passing.stop()


def main() -> None:
    world = fleet_of(DEVICES)
    lag = ReactorLag(reactor, time.monotonic)
    registry = new_registry(
        Watched(
            fleet=world.fleet,
            counters=world.counters,
            connections=lambda: {"login": 0, "live": DEVICES, "historic": 0},
            lag=lag,
            started_at=time.time(),
        )
    )
    resource = DeviceMetricsResource(
        world.fleet, now=world.clock.seconds, monotonic=time.monotonic, clock=reactor, max_age_s=86_400.0
    )
    calm_collector()  # as the daemon does
    print(f"{DEVICES} devices")
    small("/metrics, text", generate_latest, registry)
    small("/metrics, OpenMetrics", generate_openmetrics, registry)
    by_hand("/metrics/devices", resource, compress=False)
    by_hand("/metrics/devices, gzip", resource, compress=True)
    lag.startService()
    done = Deferred.fromCoroutine(over_sockets(world, registry, resource))
    done.addErrback(lambda failure: failure.printTraceback()).addBoth(lambda _: reactor.stop())
    reactor.run()


if __name__ == "__main__":
    main()
