"""CPU time of reading uploads of Modbus frames and of merging them into a register image; memory of an image.

``python bench/bench_modbus.py``

The device is an HGM6120N: polls of 90 coils, 45 registers and 10 registers (protocol section 4.1).
"""

import sys
import time
from collections.abc import Callable
from random import Random

from cmmd.modbus.frames import Function, ReadRequest, matches, parse_plan, parse_response, read_response
from cmmd.modbus.image import RegisterImage

PLAN = parse_plan("01010000005ABC31;01030000002D85D7;0103002E000AA5C4")
HOLDING = Function.READ_HOLDING_REGISTERS
ROUNDS = 15
CALLS = 5000


def payloads(seed: int) -> list[bytes]:
    """Values for the requests of the plan; the bits over in the last byte of the coils are 0."""
    random = Random(seed)
    coils, *registers = (random.randbytes(request.payload_length) for request in PLAN)
    return [coils[:-1] + bytes([coils[-1] & 3]), *registers]


def with_few_changes(values: list[bytes]) -> list[bytes]:
    """The same values, but for one coil, four registers of the first request and one of the second."""
    places = ((5,), (1, 27, 47, 69), (3,))
    changed = [bytearray(payload) for payload in values]
    for payload, flipped in zip(changed, places, strict=True):
        for place in flipped:
            payload[place] ^= 1
    return [bytes(payload) for payload in changed]


def full_image() -> RegisterImage:
    """All that the plan asks for is known, and register 45 between the two requests: 90 coils, 56 registers."""
    image = RegisterImage()
    for request, payload in zip(PLAN, payloads(1), strict=True):
        image.merge(request, payload)
    image.merge_change(HOLDING, 45, b"\x12\x34", "big")
    return image


def size_of(image: RegisterImage) -> int:
    """Bytes of memory of an image with all that it refers to, each object once; small integers are Python's own."""
    areas = image._areas
    parts = [image, image._starts, areas, *image._starts, *areas]
    parts += [part for area in areas for part in (area.start, area.count, area.values)]
    own = {id(part): part for part in parts if not (isinstance(part, int) and part <= 256)}
    return sum(map(sys.getsizeof, own.values()))


def cpu_us(work: Callable[[], object]) -> float:
    """CPU time of one call in µs, best of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS):
            work()
        rounds.append((time.process_time() - started) / CALLS)
    return min(rounds) * 1e6


def report(what: str, work: Callable[[], object], calls_in_one: int = 1) -> None:
    print(f"{what:<64}{cpu_us(work) / calls_in_one:>8.2f}")


def report_frames() -> None:
    frames = [read_response(request, payload) for request, payload in zip(PLAN, payloads(1), strict=True)]
    responses = [parse_response(frame) for frame in frames]
    first, second, third = frames

    def from_hex() -> None:
        bytes.fromhex(first), bytes.fromhex(second), bytes.fromhex(third)

    def parse() -> None:
        parse_response(first), parse_response(second), parse_response(third)

    def match() -> None:
        for request, response in zip(PLAN, responses, strict=True):
            matches(request, response)

    report("3 response frames: from hex to bytes only", from_hex)
    report("3 response frames: parsed, from hex to bytes included", parse)
    report("3 responses matched to their requests", match)


def report_image() -> None:
    image = full_image()
    values = payloads(1)
    same, few, others = (list(zip(PLAN, one, strict=True)) for one in (values, with_few_changes(values), payloads(2)))

    def merge(*uploads: list[tuple[ReadRequest, bytes]]) -> Callable[[], None]:
        def work() -> None:
            for upload in uploads:
                for request, payload in upload:
                    image.merge(request, payload)

        return work

    def items() -> None:
        for value in (b"\xef\x00", b"\xf0\x00"):
            for address in (0, 6, 13, 23, 34):
                image.merge_change(HOLDING, address, value, "little")

    encoded = image.to_bytes()
    report("full upload merged, nothing changed", merge(same))
    report("full upload merged, 1 coil and 5 registers changed", merge(few, same), 2)
    report("full upload merged, about half of the coils, all registers", merge(others, same), 2)
    report("change upload of 5 registers merged, all changed", items, 2)
    report("one register read", lambda: image.register(HOLDING, 34))
    report("45 registers read", lambda: image.registers(HOLDING, 0, 45))
    report("90 coils read as integers", lambda: image.bit_masks(Function.READ_COILS, 0, 90))
    report(f"encoded, {len(encoded)} bytes", image.to_bytes)
    report("decoded", lambda: RegisterImage.from_bytes(encoded))


def main() -> None:
    print(f"{'cmmd.modbus, HGM6120N, µs of CPU':<64}")
    report_frames()
    report_image()
    print(f"{'memory of an image, bytes':<64}{size_of(full_image()):>8}")


if __name__ == "__main__":
    main()
