"""CPU time of splitting a stream into documents: linear in the bytes, however they are cut.

``python bench/bench_splitter.py``
"""

import time
from collections.abc import Callable

from cmmd.wire.splitter import Splitter

KIBIBYTE = 1024
LEAST_SECONDS = 0.05
SMALL_FRAMES = 1000
HEARTBEAT = b'{"method":"HB","hostid":"3439333633355115004B003D","params":""}'
FULL_UPLOAD = b'{"method":"reqdata","params":"' + b"0" * 400 + b'","hostid":"3439333633355115004B003D"}'


def document_of(length: int, unit: bytes) -> bytes:
    """A document of this length, in bytes, whose one text is made of the unit."""
    shell = b'{"a":"%s"}'
    room = length - len(shell % b"")
    return shell % (unit * (room // len(unit)) + b"x" * (room % len(unit)))


def nested(length: int) -> bytes:
    """A document of this length that is as full of brackets as may be."""
    unit = b'{"a":[1,{}]},'
    room = length - len(b'{"a":[]}')
    return b'{"a":[' + unit * (room // len(unit)) + b" " * (room % len(unit)) + b"]}"


def byte_by_byte(stream: bytes) -> list[bytes]:
    return [stream[place : place + 1] for place in range(len(stream))]


def split(segments: list[bytes]) -> int:
    """:return: the number of documents."""
    splitter = Splitter()
    documents = 0
    for segment in segments:
        splitter.feed(segment)
        while splitter.next_document() is not None:
            documents += 1
    return documents


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one call: the best of three rounds, each of so many calls that the clock can tell."""
    calls = 1
    while True:
        started = time.process_time()
        for _ in range(calls):
            work()
        if time.process_time() - started > LEAST_SECONDS:
            break
        calls *= 2
    rounds = []
    for _ in range(3):
        started = time.process_time()
        for _ in range(calls):
            work()
        rounds.append((time.process_time() - started) / calls)
    return min(rounds)


def report_bytes(what: str, length: int, segments: list[bytes]) -> None:
    assert split(segments) == 1
    seconds = cpu_seconds(lambda: split(segments))
    print(f"{what:<44}{length // KIBIBYTE:>4} KiB{seconds / length * 1e9:>12.2f} ns/byte")


def report_documents(what: str, count: int, segments: list[bytes]) -> None:
    assert split(segments) == count
    seconds = cpu_seconds(lambda: split(segments))
    print(f"{what:<44}{count:>8}{seconds / count * 1e6:>12.2f} µs/document")


def main() -> None:
    print("cmmd.wire.splitter, CPU time")
    kinds: dict[str, Callable[[int], bytes]] = {
        "ASCII text": lambda length: document_of(length, b"0"),
        "Chinese text, UTF-8": lambda length: document_of(length, "机".encode()),
        "brackets": nested,
    }
    for kind, make in kinds.items():
        for length in (16 * KIBIBYTE, 32 * KIBIBYTE, 64 * KIBIBYTE):
            report_bytes(f"{kind}, byte by byte", length, byte_by_byte(make(length)))
        for length in (16 * KIBIBYTE, 32 * KIBIBYTE, 64 * KIBIBYTE):
            report_bytes(f"{kind}, whole", length, [make(length)])
    report_documents("heartbeats, one segment each", SMALL_FRAMES, [HEARTBEAT] * SMALL_FRAMES)
    report_documents("heartbeats, all in one segment", SMALL_FRAMES, [HEARTBEAT * SMALL_FRAMES])
    report_documents("full upload of 400 characters, one segment", 1, [FULL_UPLOAD])
    report_documents("full upload of 400 characters, two segments", 1, [FULL_UPLOAD[:200], FULL_UPLOAD[200:]])


if __name__ == "__main__":
    main()
