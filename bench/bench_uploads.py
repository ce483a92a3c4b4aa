"""CPU time of the upload path without sockets, and memory of a device with a complete image and live record.

``python bench/bench_uploads.py``

From the bytes of a document to the live record, through the session's own way: the message is read, its frames are
checked and merged, alarms are looked at where something changed, history decides. Uploads are those of an HGM6120N (90
coils, 55 registers in three frames); each differs from the one before in a few registers, as they do. Decoding to
points happens where somebody asks, or where the upload is kept; it is measured apart.
"""

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed

from cmmd.fleet.telemetry.register_state import CertainRegisters
from cmmd.fleet.telemetry.view import view_of
from cmmd.modbus.frames import parse_plan, read_response
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Device, Row
from cmmd.wire.messages import ReqData, ReqDataChange
from cmmd.wire.reading import read_from_device
from tests.support import compact
from tests.world import HOSTID, World

ROUNDS, CALLS = 15, 4000
DIFFERENT = 8
DEVICES = 20_000
PLAN = parse_plan("01010000005ABC31;01030000002D85D7;0103002E000AA5C4")


def payloads() -> list[bytes]:
    """An HGM6120N running on load, without an alarm."""
    coils = sum(1 << coil for coil in (7, 41, 57, 69, 72))
    registers = [0] * 56
    registers[6:15] = [5000, 231, 230, 232, 400, 399, 401, 5001, 523]
    registers[17:26] = [82, 1234, 350, 800, 67, 900, 1500, 274, 280]
    registers[34] = 9
    raw = b"".join(register.to_bytes(2, "big") for register in registers)
    return [coils.to_bytes(12, "little"), raw[:90], raw[92:112]]


def full_uploads() -> list[bytes]:
    """Documents, each with other voltages, temperatures and powers than the one before."""
    random = Random(1)
    documents = []
    for _ in range(DIFFERENT):
        values = [bytearray(one) for one in payloads()]
        for register in (7, 8, 9, 13, 14, 15, 17, 19, 26, 30):
            values[1][register * 2 + 1] = random.randrange(100, 250)
        frames = ";".join(map(read_response, PLAN, map(bytes, values)))
        documents.append(compact({"method": "reqdata", "params": frames, "hostid": HOSTID}))
    return documents


def change_uploads() -> list[bytes]:
    """Documents with 5 registers each, little-endian."""
    random = Random(2)
    return [
        compact(
            {
                "method": "reqdatachange",
                "params": {
                    "packetnum": number,
                    "03": [
                        {f"{register:04X}": f"{random.randrange(100, 250):02X}00"} for register in (7, 8, 13, 17, 26)
                    ],
                },
                "hostid": HOSTID,
            }
        )
        for number in range(DIFFERENT)
    ]


def cpu_us(work: Callable[[bytes], object], documents: Sequence[bytes]) -> float:
    """CPU time of one call in µs, best of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS // len(documents)):
            for document in documents:
                work(document)
        rounds.append((time.process_time() - started) / (CALLS // len(documents) * len(documents)))
    return min(rounds) * 1e6


class Forgetful(MemoryStore):
    """Keeps no rows: what is measured is the daemon's memory."""

    def write(self, rows: Sequence[Row]) -> Deferred[None]:  # noqa: ARG002
        return succeed(None)


def traced() -> int:
    """Bytes that Python's objects have now."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def bytes_per_device() -> tuple[float, float]:
    """Memory of one device: of its registration, and of its live record with a complete image."""
    uploads = [read_from_device(document) for document in full_uploads()]
    world = World(store=Forgetful(), max_devices=DEVICES)
    world.register()
    device = world.registry.device(HOSTID)
    assert device is not None
    hostids = [f"{number:024X}" for number in range(DEVICES)]
    tracemalloc.start()
    at_first = traced()
    for number, hostid in enumerate(hostids):
        encoded = msgspec.msgpack.encode(replace(device, hostid=hostid, number=number))
        world.registry._devices[hostid] = msgspec.msgpack.decode(encoded, type=Device)  # shares nothing with others
    registered = traced()
    for number, hostid in enumerate(hostids):
        upload = uploads[number % len(uploads)]
        assert isinstance(upload, ReqData)
        world.fleet.uploads.full(replace(upload, hostid=hostid), world.fleet.live[hostid].plan, historic=False)
        if number % 400 == 399:
            world.write_batch()
    world.write_batch()
    assert len(world.fleet.live) == DEVICES
    live = traced()
    tracemalloc.stop()
    return (registered - at_first) / DEVICES, (live - registered) / DEVICES


def main() -> None:
    world = World()
    world.register()
    uploads = world.fleet.uploads
    record = world.fleet.live[HOSTID]
    profile = record.profile

    def take(document: bytes) -> None:
        message = read_from_device(document)
        if type(message) is ReqData:
            uploads.full(message, record.plan, historic=False)
        elif type(message) is ReqDataChange:
            uploads.change(message, historic=False)

    def take_and_decode(document: bytes) -> None:
        take(document)
        profile.values(CertainRegisters(record.known))

    def take_and_view(document: bytes) -> None:
        take(document)
        view_of(record, 0.0, online=True)

    heartbeat = [compact({"method": "HB", "hostid": HOSTID, "params": ""})]
    take(full_uploads()[0])  # the first one is kept
    world.clock.advance(1)
    print(f"{'upload path without sockets, µs of CPU':<64}")
    for name, documents in (("full upload", full_uploads()), ("change upload of 5 registers", change_uploads())):
        print(f"{name + ': read only':<64}{cpu_us(read_from_device, documents):>8.2f}")
        print(f"{name + ': read and taken over':<64}{cpu_us(take, documents):>8.2f}")
        print(f"{name + ': the same, and decoded to points':<64}{cpu_us(take_and_decode, documents):>8.2f}")
        print(f"{name + ': the same, and made a view for people':<64}{cpu_us(take_and_view, documents):>8.2f}")
    print(f"{'heartbeat: read':<64}{cpu_us(take, heartbeat):>8.2f}")
    registration, live = bytes_per_device()
    print(f"{f'memory a device, {DEVICES} devices, bytes: registration':<64}{registration:>8.0f}")
    print(f"{'live record with a complete image, and an open alarm':<64}{live:>8.0f}")


if __name__ == "__main__":
    main()
