"""The embedded store: rows a second, CPU time of a reading, time for a page, bytes on disk.

``python bench/bench_store.py``

A reading is that of an HGM6120N: an image of 160 bytes and 50 points. A command that is accepted is written alone: it
is not sent before it is durable. Batches are written one after another, each confirmed before the next one, so this is
the pace of the disk; the file is a temporary one (``TMPDIR`` says where).
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from cmmd.store.interface import MOST_A_PAGE
from cmmd.store.records import Command, Cursor, LastUpload, Query, Reading
from cmmd.store.sqlite.store import SQLiteStore

DEVICES = 1000
HISTORY_ROWS = 200_000
COMMANDS_ALONE = 1_000
COMMANDS = 50_000
UNFINISHED = 100
BATCHES = ((1, 2_000), (50, 20_000), (500, 50_000))
"""Rows of a batch, and of all batches together."""

HOSTIDS = [f"3439333633355115{number:08X}" for number in range(DEVICES)]
START_MS = 1_700_000_000_000


def new_readings(random: Random) -> Iterator[Reading]:
    """Every device in turn, each once a minute, every value another one."""
    for number in count(1):
        yield Reading(
            number=number,
            hostid=HOSTIDS[number % DEVICES],
            at=START_MS + number * 60_000 // DEVICES,
            reason="interval",
            profile=1,
            image=random.randbytes(160),
            points=(*[random.randrange(65536) * 0.1 for _ in range(48)], None, None),
        )


def report(what: str, figure: float, unit: str) -> None:
    print(f"{what:<64}{figure:>10,.1f} {unit}")


async def write_batches(store: SQLiteStore, readings: Iterator[Reading], rows: int, rows_in_all: int) -> None:
    batches = [list(islice(readings, rows)) for _ in range(rows_in_all // rows)]
    cpu, started = time.process_time(), time.perf_counter()
    for batch in batches:
        await store.write(batch)
    cpu, took = time.process_time() - cpu, time.perf_counter() - started
    report(f"readings in batches of {rows}", rows_in_all / took, "rows/s")
    report(f"readings in batches of {rows}, CPU", cpu / rows_in_all * 1e6, "µs/row")


async def write_uploads(store: SQLiteStore, random: Random) -> None:
    rows = [LastUpload(hostid=one, upload=1, at=1, unit=1, kept_at=1, image=random.randbytes(160)) for one in HOSTIDS]
    await store.write(rows)
    cpu = time.process_time()
    for first in range(0, DEVICES, 500):
        await store.write(rows[first : first + 500])
    report("last uploads replaced in batches of 500, CPU", (time.process_time() - cpu) / DEVICES * 1e6, "µs/row")


def new_commands(first: int, how_many: int) -> list[Command]:
    """As accepted."""
    return [
        Command(
            number=number,
            hostid=HOSTIDS[number % DEVICES],
            kind="modbus",
            name="auto",
            request="01050003FF007C3A",
            requester="uid 1000 cmmctl",
            door="amp",
            uid=f"{100_000 + number % 900_000}",
            accepted_at=START_MS + number * 1000,
        )
        for number in range(first, first + how_many)
    ]


def ended(command: Command) -> Command:
    at = command.accepted_at
    return replace(command, sent_at=at + 1, ended_at=at + 300, outcome="done", reply="1", confirmed=True)


async def write_commands(store: SQLiteStore) -> None:
    alone = new_commands(1, COMMANDS_ALONE)
    cpu, started = time.process_time(), time.perf_counter()
    for command in alone:
        await store.write([command])
    cpu, took = time.process_time() - cpu, time.perf_counter() - started
    report("command accepted, alone", took / COMMANDS_ALONE * 1e3, "ms")
    report("command accepted, alone, CPU", cpu / COMMANDS_ALONE * 1e6, "µs")
    rest = new_commands(COMMANDS_ALONE + 1, COMMANDS - COMMANDS_ALONE)
    for first in range(0, len(rest), 500):
        await store.write(rest[first : first + 500])
    ends = [ended(command) for command in alone + rest[:-UNFINISHED]]
    cpu = time.process_time()
    for first in range(0, len(ends), 500):
        await store.write(ends[first : first + 500])
    report("commands replaced in batches of 500, CPU", (time.process_time() - cpu) / len(ends) * 1e6, "µs/row")


async def read_commands(store: SQLiteStore) -> None:
    for name, hostid in (("of all devices", None), ("of one device", HOSTIDS[0])):
        query = Query(limit=MOST_A_PAGE, newest_first=True, hostid=hostid)
        rows = len(await store.commands(query))
        report(f"page of {rows} commands {name}, newest first", await best_ms(partial(store.commands, query)), "ms")


async def read_pages(store: SQLiteStore) -> None:
    middle = Cursor(START_MS + HISTORY_ROWS // 2 * 60_000 // DEVICES, 0)
    whole = Query(limit=MOST_A_PAGE)
    pages = {
        "of all devices, oldest first": whole,
        "of all devices, from the middle": Query(limit=MOST_A_PAGE, after=middle),
        "of all devices, newest first": Query(limit=MOST_A_PAGE, newest_first=True),
        "of one device, newest first": Query(limit=MOST_A_PAGE, hostid=HOSTIDS[0], newest_first=True),
    }
    for name, query in pages.items():
        rows = len(await store.readings(query))
        report(f"page of {rows} {name}", await best_ms(partial(store.readings, query)), "ms")


async def best_ms(ask: Callable[[], Deferred[Any]]) -> float:
    rounds = []
    for _ in range(7):
        started = time.perf_counter()
        await ask()
        rounds.append(time.perf_counter() - started)
    return min(rounds) * 1e3


async def bench(reactor: Any) -> None:
    random = Random(6120)
    with TemporaryDirectory() as folder:
        path = Path(folder, "cmmd.sqlite")
        store = SQLiteStore(path, reactor)
        await store.open()
        readings = new_readings(random)
        for rows, rows_in_all in BATCHES:
            await write_batches(store, readings, rows, rows_in_all)
        there = sum(rows_in_all for _, rows_in_all in BATCHES)
        for _ in range((HISTORY_ROWS - there) // 500):
            await store.write(list(islice(readings, 500)))
        await store.close()
        report(
            f"file of {HISTORY_ROWS:,} readings of {DEVICES} devices", path.stat().st_size / HISTORY_ROWS, "bytes/row"
        )
        await store.open()
        await write_uploads(store, random)
        await store.write([replace(one, hostid=HOSTIDS[0]) for one in islice(readings, MOST_A_PAGE)])
        await read_pages(store)
        report("forget 1000 readings", await best_ms(partial(store.forget, 2**62, 1000)), "ms")
        await write_commands(store)
        await read_commands(store)
        report("forget 1000 readings and 1000 commands", await best_ms(partial(store.forget, 2**62, 1000)), "ms")
        await store.close()
        started = time.perf_counter()
        kept = await store.open()
        report(f"open, {len(kept.unfinished)} commands unfinished", (time.perf_counter() - started) * 1e3, "ms")
        await store.close()


def main() -> None:
    print("cmmd.store.sqlite.store, readings of an HGM6120N")
    react(lambda reactor: Deferred.fromCoroutine(bench(reactor)))


if __name__ == "__main__":
    main()
