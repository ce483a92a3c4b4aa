"""PostgreSQL under a steady load: CPU of cmmd and of the server, what waits, how long it takes, bytes on disk.

``python bench/bench_postgres.py [SECONDS [READINGS_A_SECOND]]``

Readings are those of an HGM6120N, each with the device's last upload beside it, as the daemon keeps them: through the
journal and its batches, each waited for until it is durable (fsync is on). The load comes in slices of 10 ms. The CPU
time of the same load into a store that only nods is subtracted: the rest is what storage costs the daemon.
"""

import os
import sys
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import psycopg2
from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater, react

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cmmd.fleet.history.journal import Journal
from cmmd.store.memory import MemoryStore
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.records import LastUpload, Reading, Row
from tests.postgres import cluster

DEVICES = 20_000
SLICE_S = 0.01
HOSTIDS = [f"3439333633355115{number:08X}" for number in range(DEVICES)]
VARIANTS = 1000


class Nodding(MemoryStore):
    """Takes everything, and keeps nothing."""

    def write(self, _rows: Sequence[Row]) -> Deferred[None]:
        return succeed(None)


class Load:
    """Readings, and what became of them."""

    def __init__(self) -> None:
        random = Random(6120)
        self._readings = [
            Reading(
                number=1,
                hostid="",
                at=0,
                reason="interval",
                profile=1,
                image=random.randbytes(160),
                points=(*[random.randrange(65536) / 10 for _ in range(48)], None, None),
            )
            for _ in range(VARIANTS)
        ]
        self._numbers = count(1)
        self.seconds: list[float] = []
        self.failed = 0

    def one(self, journal: Journal) -> None:
        """Have another one kept."""
        number = next(self._numbers)
        at = int(time.time() * 1000)
        reading = replace(self._readings[number % VARIANTS], number=number, hostid=HOSTIDS[number % DEVICES], at=at)
        begun = time.perf_counter()
        journal.add_durable(reading).addCallbacks(lambda _: self.seconds.append(time.perf_counter() - begun), self._not)
        journal.add(LastUpload(hostid=reading.hostid, upload=number, at=at, unit=1, kept_at=at, image=reading.image))

    def _not(self, _failure: object) -> None:
        self.failed += 1


async def live(reactor: Any, store: Any, rate: int, seconds: float) -> tuple[Load, float, int]:
    """The load, the CPU time it took, and the most rows that waited."""
    load, journal, most = Load(), Journal(store, reactor), 0
    cpu, started, made = time.process_time(), time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds:
        for _ in range(int(passed * rate) - made):
            load.one(journal)
            made += 1
        most = max(most, len(journal))
        await deferLater(reactor, SLICE_S)
    await journal.drain()
    return load, time.process_time() - cpu, most


def server_cpu(url: str) -> float:
    """CPU seconds of all processes of the server so far."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity")
        pids = [pid for (pid,) in cursor.fetchall()]
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def bytes_a_reading(url: str) -> tuple[int, float]:
    """How many there are, and bytes of each, indexes included."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM reading")
        (rows,) = cursor.fetchone() or (0,)
        cursor.execute("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('reading') WHERE isleaf")
        (size,) = cursor.fetchone() or (0,)
    return rows, float(size) / max(rows, 1)


def report(what: str, figure: float, unit: str) -> None:
    print(f"{what:<64}{figure:>10,.1f} {unit}")


async def bench(reactor: Any, seconds: float, rate: int) -> None:
    url = cluster(durable=True).new_database()
    _, alone, _ = await live(reactor, Nodding(), rate, seconds / 4)
    store = PostgresStore(url, reactor)
    await store.open()
    await live(reactor, store, rate, 2)  # connections, plans
    await store.close()
    url = cluster(durable=True).new_database()
    store = PostgresStore(url, reactor)
    await store.open()
    before = server_cpu(url)
    load, cpu, most = await live(reactor, store, rate, seconds)
    served = server_cpu(url) - before
    await store.close()
    done = sorted(load.seconds)
    report("readings made durable", len(done) / seconds, "a second")
    report("of them failed", load.failed, "")
    report("CPU of cmmd for storage", (cpu - alone * 4) / seconds * 100, "% of a core")
    report("CPU of cmmd for storage, a reading and its last upload", (cpu - alone * 4) / len(done) * 1e6, "µs")
    report("CPU of the server, a reading and its last upload", served / len(done) * 1e6, "µs")
    report("until durable, p50", done[len(done) // 2] * 1e3, "ms")
    report("until durable, p99", done[len(done) * 99 // 100] * 1e3, "ms")
    report("most rows that waited", most, "")
    rows, size = bytes_a_reading(url)
    report(f"on disk, {rows:,} readings, indexes included", size, "bytes/reading")
    if load.failed or len(done) < 0.99 * rate * seconds:
        raise SystemExit("it cannot keep up")


def main() -> None:
    seconds, rate = (float(value) for value in (*sys.argv[1:], *("10", "10000")[len(sys.argv) - 1 :]))
    print(f"cmmd.store.postgres.store, {rate:,.0f} readings a second for {seconds:g} s")
    react(lambda reactor: Deferred.fromCoroutine(bench(reactor, seconds, int(rate))))


if __name__ == "__main__":
    main()
