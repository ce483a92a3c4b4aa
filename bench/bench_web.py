"""What the web costs with 5,000 devices: the fleet at once, lists, rows for those who watch, buckets.

Between two pieces of long work the reactor serves devices: it is held for at most SLICE_S and one piece.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msgspec.structs import force_setattr
from twisted.internet.defer import Deferred

from cmmd.store.memory import MemoryStore
from cmmd.store.records import PointColumn, ProfileVersion, Reading
from cmmd.web.http.streaming_body import SLICE_S, CooperativeScheduler
from tests.control_world import now
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.web_world import WebWorld

DEVICES = 5000
STREAMS = 10
READINGS = 20_000
MS = 1000


class Timed(CooperativeScheduler):
    """Times every piece."""

    longest = 0.0

    def turn(self) -> Deferred[None]:
        """CPU time, so that what else the machine does is not counted."""
        waiting: Deferred[None] = Deferred()

        def piece(_: None) -> None:
            began = time.process_time()
            waiting.callback(None)
            self.longest = max(self.longest, time.process_time() - began)

        super().turn().addCallback(piece)
        return waiting


def timed(what: str, pieces: Timed, work: Callable[[], int]) -> None:
    pieces.longest = 0.0
    began = time.process_time()
    size = work()
    spent = time.process_time() - began
    held = (SLICE_S + pieces.longest) * MS
    print(f"{what:44} {spent * MS:8.1f} ms CPU  {size / 1000:8.1f} kB   holds the reactor {held:5.1f} ms at most")


def main(folder: Path) -> None:
    store = MemoryStore()
    world = WebWorld(folder, store=store, max_devices=DEVICES)
    hostids = [f"{number:024}" for number in range(DEVICES)]
    for hostid in hostids:
        now(world.fleet.registry.enrol(hostid, hostname="Genset", moduletype="HGM6120N"))
        world.fleet.uploads.full(full_upload(hostid=hostid), HGM6120N_PLAN, historic=False)
    world.world.write_batch()
    web = world.web
    pieces = Timed(world.clock)
    web.feed._pieces = pieces
    around = web.site.resource.getStaticEntity(b"api").getStaticEntity(b"v1")._context
    force_setattr(around, "pieces", pieces)
    token = world.tokens.add("me", "viewer")

    def get(path: str) -> Callable[[], int]:
        def asked() -> int:
            client = world.begin("GET", f"/api/v1{path}", token=token)
            for _ in range(10_000):
                answer = client.answer()
                if answer is not None:
                    assert answer.status == 200, answer
                    return len(answer.body)
                world.clock.advance(0)
            raise AssertionError(path)

        return asked

    print(f"{DEVICES} devices")
    timed("GET /fleet", pieces, get("/fleet"))
    timed("GET /devices?sort=hostname&limit=100", pieces, get("/devices?sort=hostname&limit=100"))
    timed("GET /devices?q=4242", pieces, get("/devices?q=4242"))
    timed("GET /devices/{hostid}/live", pieces, get(f"/devices/{hostids[0]}/live"))

    version = ProfileVersion(
        number=9, name="p", fingerprint="x", points=(PointColumn(name="a", title="", unit="V", decimals=1),)
    )
    world.fleet.history._versions[9] = version
    kept = [
        Reading(
            number=number,
            hostid=hostids[0],
            at=number * 60_000,
            reason="interval",
            profile=9,
            image=b"\1",
            points=(1.5,),
        )
        for number in range(READINGS)
    ]
    now(store.write([version, *kept]))
    span = f"points=a&since=0&until={READINGS * 60_000}"
    timed(f"buckets of {READINGS} readings", pieces, get(f"/devices/{hostids[0]}/readings/buckets?{span}"))

    streams = [
        world.begin("GET", "/api/v1/events?live=true", token=token, Accept="text/event-stream") for _ in range(STREAMS)
    ]
    world.clock.advance(0)

    def tick() -> int:
        for hostid in hostids:
            web.feed.touch(hostid)
        for _ in range(300):
            world.clock.advance(0.01)
        return sum(len(one.received) for one in streams) // STREAMS

    timed(f"a row of each, {STREAMS} streams", pieces, tick)
    for one in streams:
        one.transport.clear()
    timed("nothing new of any", pieces, tick)


if __name__ == "__main__":
    with TemporaryDirectory() as state:
        main(Path(state))
