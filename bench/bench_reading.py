"""CPU time of reading a document into a message, the strict way and the tolerant one.

``python bench/bench_reading.py``
"""

import time

from fastcrc.crc16 import modbus as crc16

from cmmd.wire.reading import read_from_device

ROUNDS = 5
READS = 5000
HOSTID = "3439333633355115004B003D"


def response(function: int, values: bytes) -> str:
    """A Modbus RTU read response of unit 1, in hex with its CRC."""
    frame = bytes([1, function, len(values)]) + values
    return (frame + crc16(frame).to_bytes(2, "little")).hex().upper()


def documents() -> dict[str, tuple[bytes, bytes]]:
    """What is read: name to the document as the field writes it, and as only the tolerant way takes it."""
    frames = ";".join((response(1, bytes(12)), response(3, bytes(90)), response(3, bytes(20))))
    changes = ",".join(f'{{"{address:04X}":"EF00"}}' for address in range(5))
    login = (
        f'{{"method":"login","params":{{"hostid":"{HOSTID}","hostname":"G1","password":"1234","longitude":"113.6",'
        '"latitude":"34.7","gpsen":1,"moduletype":"HGM6120N","modulePort":2,"moduleBaud":0}}'
    )
    strict = {
        "heartbeat": f'{{"method":"HB","hostid":"{HOSTID}","params":""}}',
        "full upload, 90 coils, 55 registers": f'{{"method":"reqdata","params":"{frames}","hostid":"{HOSTID}"}}',
        "change upload, 5 registers": (
            f'{{"method":"reqdatachange","params":{{"packetnum":12,"03":[{changes}]}},"hostid":"{HOSTID}"}}'
        ),
        "login": login,
    }
    return {name: (text.encode(), tolerant(text).encode()) for name, text in strict.items()}


def tolerant(text: str) -> str:
    """The same message with a key in another letter case, an unknown key and a trailing comma."""
    return text.replace('"hostid"', '"HostID"')[:-1] + ',"signal":21,}'


def cpu_seconds(document: bytes) -> float:
    """CPU time of one read, best of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(READS):
            read_from_device(document)
        rounds.append((time.process_time() - started) / READS)
    return min(rounds)


def main() -> None:
    print("cmmd.wire.reading, µs of CPU a read")
    print(f"{'':<40}{'bytes':>8}{'strict':>10}{'tolerant':>10}")
    for name, (strict, near) in documents().items():
        assert read_from_device(strict) == read_from_device(near)
        print(f"{name:<40}{len(strict):>8}{cpu_seconds(strict) * 1e6:>10.2f}{cpu_seconds(near) * 1e6:>10.2f}")


if __name__ == "__main__":
    main()
