"""The store in PostgreSQL: rows a second, CPU time of a reading on both sides, time for a page, bytes on disk.

``python bench/bench_store_postgres.py [--seconds N]``; ``CMMD_TEST_POSTGRES`` names a server, else one of our own is
started for it, with fsync.

A reading is that of an HGM6120N: an image of 150 bytes (55 registers and 90 coils, in their runs) and 50 points. The
pace of 10,000 readings a second is held for N seconds (60) in batches of 100 that are handed in one after another, as
the journal does it. CPU time of the server is that of the session that writes, not that of its checkpoints.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from cmmd.store.interface import MOST_A_PAGE
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import Cursor, Device, LastUpload, PointColumn, ProfileVersion, Query, Reading
from tests.postgres import cluster

DEVICES = 1000
PACE = 10_000
BATCH = 100
VALUES = 1999
"""So many different images and points there are."""

HOSTIDS = [f"3439333633355115{number:08X}" for number in range(DEVICES)]


def new_readings(random: Random, start_ms: int) -> Iterator[Reading]:
    """Every device in turn, each once a minute. To make them costs next to nothing beside writing them."""
    images = [random.randbytes(150) for _ in range(VALUES)]
    points = [(*[random.randrange(65536) * 0.1 for _ in range(48)], None, None) for _ in range(VALUES)]
    for number in count(1):
        yield Reading(
            number=number,
            hostid=HOSTIDS[number % DEVICES],
            at=start_ms + number * 60_000 // DEVICES,
            reason="interval",
            profile=1,
            image=images[number % VALUES],
            points=points[number % VALUES],
        )


def report(what: str, figure: float, unit: str) -> None:
    print(f"{what:<72}{figure:>10,.1f} {unit}", flush=True)


def server_cpu_s(pid: int) -> float:
    """CPU time of a process of the server; 0 where it is on another machine."""
    try:
        fields = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return 0.0
    return int(fields[0]) / 1e9


async def add_devices(store: PostgresStore) -> None:
    started = time.perf_counter()
    plain = Device(hostid="", hostname="genset", password_hash=None, moduletype="HGM6120N-4G", registered_at=1)
    await gatherResults([store.add_device(replace(plain, hostid=hostid)) for hostid in HOSTIDS])
    report(f"{DEVICES} devices added at once", (time.perf_counter() - started) * 1e3, "ms")
    kept = [replace(plain, hostid=hostid, number=number) for number, hostid in enumerate(HOSTIDS, start=1)]
    started = time.perf_counter()
    await gatherResults([store.write([one]) for one in kept])
    report(
        f"{DEVICES} devices replaced at once, each by a call of its own", (time.perf_counter() - started) * 1e3, "ms"
    )
    names = [PointColumn(name=f"point_{place}", title="", unit="V", decimals=1) for place in range(50)]
    await store.write([ProfileVersion(number=1, name="hgm6120n", fingerprint="1", points=tuple(names))])


async def write_batches(store: PostgresStore, readings: Iterator[Reading], rows: int, rows_in_all: int) -> None:
    (pid,) = await writer_pid(store)
    batches = [list(islice(readings, rows)) for _ in range(rows_in_all // rows)]
    cpu, there, started = time.process_time(), server_cpu_s(pid), time.perf_counter()
    for batch in batches:
        await store.write(batch)
    cpu, there, took = time.process_time() - cpu, server_cpu_s(pid) - there, time.perf_counter() - started
    report(f"readings in batches of {rows}", rows_in_all / took, "rows/s")
    report(f"readings in batches of {rows}, CPU of ours", cpu / rows_in_all * 1e6, "µs/row")
    report(f"readings in batches of {rows}, CPU of the server", there / rows_in_all * 1e6, "µs/row")


async def writer_pid(store: PostgresStore) -> list[int]:
    assert store._links is not None
    ((pid,),) = await store._links.link.runQuery("SELECT pg_backend_pid()")
    return [pid]


async def hold_the_pace(store: PostgresStore, readings: Iterator[Reading], seconds: int, clock: Any) -> int:
    """Batches are made outside of what is measured, as far as that goes: the time to make them is taken off."""
    (pid,) = await writer_pid(store)
    making = longest = 0.0
    cpu, there, started = time.process_time(), server_cpu_s(pid), time.perf_counter()
    batches = seconds * PACE // BATCH
    for number in range(batches):
        begun = time.process_time()
        batch = list(islice(readings, BATCH))
        making += time.process_time() - begun
        early = started + number * BATCH / PACE - time.perf_counter()
        if early > 0:
            await deferLater(clock, early)
        begun_s = time.perf_counter()
        await store.write(batch)
        longest = max(longest, time.perf_counter() - begun_s)
    took = time.perf_counter() - started
    report(f"{PACE:,} readings a second for {seconds} s: rate", batches * BATCH / took, "rows/s")
    report("... CPU of ours", (time.process_time() - cpu - making) / took * 100, "% of a core")
    report("... CPU of the server", (server_cpu_s(pid) - there) / took * 100, "% of a core")
    report("... longest wait for a batch", longest * 1e3, "ms")
    return batches * BATCH


async def read_pages(store: PostgresStore, start_ms: int, rows: int) -> None:
    middle = Cursor(start_ms + rows // 2 * 60_000 // DEVICES, 0)
    pages = {
        "of all devices, oldest first": Query(limit=MOST_A_PAGE),
        "of all devices, from the middle": Query(limit=MOST_A_PAGE, after=middle),
        "of all devices, newest first": Query(limit=MOST_A_PAGE, newest_first=True),
        "of one device, newest first": Query(limit=MOST_A_PAGE, hostid=HOSTIDS[0], newest_first=True),
    }
    for name, query in pages.items():
        found = len(await store.readings(query))
        cpu = time.process_time()
        took = await best_ms(partial(store.readings, query))
        report(f"page of {found} {name}", took, "ms")
        report("... CPU of ours", (time.process_time() - cpu) / 7 * 1e3, "ms")


async def best_ms(ask: Callable[[], Deferred[Any]]) -> float:
    rounds = []
    for _ in range(7):
        started = time.perf_counter()
        await ask()
        rounds.append(time.perf_counter() - started)
    return min(rounds) * 1e3


def as_a_person_asks(url: str) -> None:
    host = HOSTIDS[7]
    for what, query in {
        "view latest, all devices": "SELECT hostname, at, point(latest, 'point_7') FROM latest",
        "function point, one device": f"SELECT at, point(r, 'point_7') FROM reading r WHERE hostid = '{host}'",
        "view reading_point, one device": f"SELECT at, value FROM reading_point"
        f" WHERE hostid = '{host}' AND point = 'point_7'",
    }.items():
        rounds = []
        for _ in range(3):
            started = time.perf_counter()
            rows = len(cluster(durable=True).execute(query, url))
            rounds.append(time.perf_counter() - started)
        report(f"{what}, {rows} rows", min(rounds) * 1e3, "ms")


def bytes_on_disk(url: str, rows: int) -> None:
    partitions = "FROM pg_inherits WHERE inhparent = 'reading'::regclass"
    ((whole, heap),) = cluster(durable=True).execute(
        f"SELECT sum(pg_total_relation_size(inhrelid)), sum(pg_relation_size(inhrelid)) {partitions}", url
    )
    report("on disk, indexes included", float(whole) / rows, "bytes/row")
    report("... of which the rows themselves", float(heap) / rows, "bytes/row")


async def bench(reactor: Any, seconds: int) -> None:
    random = Random(6120)
    url = cluster(durable=True).new_database()
    store = PostgresStore(url, reactor)
    started = time.perf_counter()
    await store.open()
    report("open, empty: schema and partitions made", (time.perf_counter() - started) * 1e3, "ms")
    start_ms = int(time.time() * 1000) - 86_400_000
    readings = new_readings(random, start_ms)
    await add_devices(store)
    for rows, rows_in_all in ((1, 1_000), (100, 50_000), (500, 50_000)):
        await write_batches(store, readings, rows, rows_in_all)
    rows = 101_000 + await hold_the_pace(store, readings, seconds, reactor)
    uploads = [LastUpload(hostid=one, upload=1, at=1, unit=1, kept_at=1, image=bytes(150)) for one in HOSTIDS]
    await store.write(uploads)
    cpu = time.process_time()
    await store.write(uploads)
    report("last uploads replaced, CPU of ours", (time.process_time() - cpu) / DEVICES * 1e6, "µs/row")
    bytes_on_disk(url, rows)
    cluster(durable=True).execute("VACUUM ANALYZE reading", url)
    await read_pages(store, start_ms, rows)
    as_a_person_asks(url)
    report("forget 500 readings", await best_ms(partial(store.forget, start_ms + 86_400_000, 500)), "ms")
    await store.close()
    started = time.perf_counter()
    await store.open()
    report("open", (time.perf_counter() - started) * 1e3, "ms")
    await store.close()
    cluster(durable=True).drop_database(url)


def main() -> None:
    seconds = int(sys.argv[sys.argv.index("--seconds") + 1]) if "--seconds" in sys.argv else 60
    print("cmmd.store.postgres.store, readings of an HGM6120N")
    react(lambda reactor: Deferred.fromCoroutine(bench(reactor, seconds)))


if __name__ == "__main__":
    main()
