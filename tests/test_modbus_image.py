"""``cmmd.modbus.image``: against a dictionary of everything, at its bounds, and fed with garbage."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from bench.bench_modbus import PLAN, full_image, payloads, size_of, with_few_changes
from cmmd.modbus.frames import Function, ReadRequest, UploadLayout, read_response
from cmmd.modbus.image import (
    MAX_AREAS,
    MAX_ENCODED_LENGTH,
    MAX_VALUE_BYTES,
    ByteOrder,
    ImageError,
    ImageFullError,
    RegisterImage,
)

COILS, INPUTS = Function.READ_COILS, Function.READ_DISCRETE_INPUTS
HOLDING, INPUT_REGISTERS = Function.READ_HOLDING_REGISTERS, Function.READ_INPUT_REGISTERS
READS = (COILS, INPUTS, HOLDING, INPUT_REGISTERS)
LAST = 0xFFFF

# Few addresses, so that merges meet: at both ends of what there is.
ADDRESSES = st.integers(0, 40) | st.integers(LAST - 20, LAST)
FUNCTIONS = st.sampled_from(READS)


def values_of(function: Function, payload: bytes, byte_order: ByteOrder = "big") -> list[int | bool]:
    """What stands in a payload, told in another way than the code does."""
    if function in (COILS, INPUTS):
        return [digit == "1" for byte in payload for digit in f"{byte:08b}"[::-1]]
    return [int.from_bytes(payload[place : place + 2], byte_order) for place in range(0, len(payload), 2)]


class ImageModel(RuleBasedStateMachine):
    """Merges and reads, on an image and on a dictionary by function and address."""

    def __init__(self) -> None:
        super().__init__()
        self.image = RegisterImage()
        self.model: dict[tuple[Function, int], int | bool] = {}

    def expect(self, function: Function, address: int, values: list[int | bool]) -> list[int]:
        """Put values into the model; tells what changes."""
        changed = []
        for place, value in enumerate(values, address):
            if self.model.get((function, place)) != value:
                changed.append(place)
            self.model[function, place] = value
        return changed

    def read(self, function: Function, address: int, count: int) -> tuple[int | bool | None, ...]:
        read = self.image.bits if function.reads_bits else self.image.registers
        return read(function, address, count)

    @rule(function=FUNCTIONS, address=ADDRESSES, count=st.integers(1, 40), draw=st.data())
    def merge_a_frame(self, function: Function, address: int, count: int, draw: st.DataObject) -> None:
        request = ReadRequest(1, function, address, min(count, LAST + 1 - address))
        length = request.payload_length
        payload = draw.draw(st.binary(min_size=length, max_size=length))
        expected = self.expect(function, address, values_of(function, payload)[: request.count])
        assert list(self.image.merge(request, payload)) == expected
        assert not self.image.merge(request, payload)

    @rule(function=FUNCTIONS, address=ADDRESSES, count=st.integers(1, 40))
    def forget(self, function: Function, address: int, count: int) -> None:
        count = min(count, LAST + 1 - address)
        self.image.forget(function, address, count)
        for place in range(address, address + count):
            self.model.pop((function, place), None)
        assert bool(self.image) == bool(self.model)

    @rule(function=FUNCTIONS, address=ADDRESSES, draw=st.data())
    def merge_a_frame_with_few_changes(self, function: Function, address: int, draw: st.DataObject) -> None:
        """What is known there already, but for one bit."""
        count = draw.draw(st.integers(1, min(40, LAST + 1 - address)))
        request = ReadRequest(1, function, address, count)
        width = 1 if function.reads_bits else 16
        bits = 0
        for n, value in enumerate(self.read(function, address, count)):
            word = int(value or 0)
            bits |= (word if width == 1 else int.from_bytes(word.to_bytes(2, "big"), "little")) << n * width
        bits ^= 1 << draw.draw(st.integers(0, request.payload_length * 8 - 1))
        payload = bits.to_bytes(request.payload_length, "little")
        expected = self.expect(function, address, values_of(function, payload)[:count])
        assert list(self.image.merge(request, payload)) == expected

    @rule(
        function=FUNCTIONS,
        address=ADDRESSES,
        value=st.binary(min_size=1, max_size=6),
        byte_order=st.sampled_from(["little", "big"]),
    )
    def merge_a_change(self, function: Function, address: int, value: bytes, byte_order: ByteOrder) -> None:
        values = values_of(function, value, byte_order)
        halved = not function.reads_bits and len(value) % 2
        if halved or address + len(values) > LAST + 1:
            before = self.image.to_bytes()
            try:
                self.image.merge_change(function, address, value, byte_order)
            except ImageError:
                assert self.image.to_bytes() == before
            else:
                raise AssertionError("it took what is not there")
        else:
            expected = self.expect(function, address, values)
            assert list(self.image.merge_change(function, address, value, byte_order)) == expected

    @rule(function=FUNCTIONS, address=ADDRESSES, count=st.integers(1, 200))
    def read_anywhere(self, function: Function, address: int, count: int) -> None:
        count = min(count, LAST + 1 - address)
        expected = tuple(self.model.get((function, place)) for place in range(address, address + count))
        assert self.read(function, address, count) == expected
        read_one = self.image.bit if function.reads_bits else self.image.register
        assert read_one(function, address) == expected[0]
        if function.reads_bits:
            states, known = self.image.bit_masks(function, address, count)
            assert states == sum(1 << n for n, state in enumerate(expected) if state)
            assert known == sum(1 << n for n, state in enumerate(expected) if state is not None)

    @rule(draw=st.data())
    def settle(self, draw: st.DataObject) -> None:
        """Keep whole uploads of a plan that asks for all that is known, and have another one come."""
        requests = [
            ReadRequest(1, function, one.start, len(one)) for function in READS for one in self.image.known(function)
        ]
        requests = draw.draw(st.permutations(requests))
        layout = UploadLayout(requests)
        assert self.image.settle(layout) == bool(requests)
        self.the_same_is_known()
        payloads = [draw.draw(st.binary(min_size=one.payload_length, max_size=one.payload_length)) for one in requests]
        frames = layout.frames(";".join(map(read_response, requests, payloads)))
        assert frames is not None or not requests
        if frames is not None and not int.from_bytes(frames, "little") & layout.surplus:
            self.image.frames = frames
            for one, payload in zip(requests, payloads, strict=True):
                self.expect(one.function, one.address, values_of(one.function, payload)[: one.count])

    @rule()
    def go_through_the_store(self) -> None:
        encoded = self.image.to_bytes()
        self.image = RegisterImage.from_bytes(encoded)
        assert self.image.to_bytes() == encoded

    @invariant()
    def the_same_is_known(self) -> None:
        for function in READS:
            known = self.image.known(function)
            assert [place for one in known for place in one] == sorted(
                place for of, place in self.model if of == function
            )
            assert all(one.stop < following.start for one, following in pairwise(known))


class ModelTests(SynchronousTestCase):
    def test_against_a_dictionary(self) -> None:
        case = ImageModel.TestCase
        case.settings = settings(max_examples=150, stateful_step_count=40)
        case().runTest()


class MergeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.image = RegisterImage()

    def test_nothing_is_known_at_first(self) -> None:
        for function in READS:
            self.assertEqual(self.image.known(function), ())
        self.assertEqual(self.image.registers(HOLDING, 0, 3), (None, None, None))
        self.assertIsNone(self.image.register(HOLDING, 0))
        self.assertIsNone(self.image.bit(COILS, LAST))
        self.assertEqual(self.image.bit_masks(COILS, 0, 90), (0, 0))

    def test_full_uploads(self) -> None:
        first = payloads(1)
        for request, payload in zip(PLAN, first, strict=True):
            whole = range(request.address, request.address + request.count)
            self.assertEqual(list(self.image.merge(request, payload)), list(whole))
            self.assertEqual(list(self.image.merge(request, payload)), [])
        self.assertEqual(self.image.known(HOLDING), (range(45), range(46, 56)))
        changed = [
            list(self.image.merge(request, payload))
            for request, payload in zip(PLAN, with_few_changes(first), strict=True)
        ]
        self.assertEqual(changed, [[40], [0, 13, 23, 34], [47]])

    def test_what_changed_is_asked_for(self) -> None:
        for function, value in ((HOLDING, bytes.fromhex("0001000200030000")), (COILS, b"\x0d")):
            image = RegisterImage()
            known = image.merge_change(function, 10, bytes(len(value)), "big")
            self.assertTrue(known)
            self.assertIn(13, known, "0 is a value, too")
            changed = image.merge_change(function, 10, value, "big")
            expected = [10, 11, 12] if function == HOLDING else [10, 12, 13]
            self.assertTrue(changed)
            self.assertEqual(list(changed), expected)
            self.assertEqual([address for address in range(30) if address in changed], expected)
            self.assertFalse(image.merge_change(function, 10, value, "big"))

    def test_bits_over_in_a_frame_do_not_count(self) -> None:
        request = ReadRequest(1, COILS, 0, 10)
        self.image.merge(request, b"\x01\x02")
        self.assertEqual(list(self.image.merge(request, b"\x01\xfe")), [])
        self.assertEqual(self.image.known(COILS), (range(10),))
        self.assertEqual(list(self.image.merge(request, b"\x01\xfc")), [9])

    def test_bits_that_do_not_begin_with_a_byte(self) -> None:
        self.image.merge_change(COILS, 0, b"\x01\x01\x01", "big")
        self.assertEqual(list(self.image.merge(ReadRequest(1, COILS, 4, 8), b"\x01")), [4, 8])
        self.assertEqual(self.image.bit_masks(COILS, 0, 24), (0x010011, 0xFFFFFF))

    def test_reads_beside_what_is_known(self) -> None:
        for function in READS:
            self.image.merge(ReadRequest(1, function, 10, 8), b"\xff" * (1 if function.reads_bits else 16))
            read = self.image.bits if function.reads_bits else self.image.registers
            for address in (*range(4, 10), *range(18, 22)):
                value = True if function.reads_bits else LAST
                expected = tuple(value if 10 <= place < 18 else None for place in range(address, address + 4))
                self.assertEqual(read(function, address, 4), expected, address)

    def test_a_change_of_the_field(self) -> None:
        orders: tuple[tuple[ByteOrder, str], ...] = (("little", "8813"), ("big", "1388"))
        for byte_order, value in orders:
            image = RegisterImage()
            self.assertEqual(list(image.merge_change(HOLDING, 6, bytes.fromhex(value), byte_order)), [6])
            self.assertEqual(image.register(HOLDING, 6), 5000)
            self.assertEqual(image.registers(HOLDING, 5, 3), (None, 5000, None))
        self.image.merge_change(COILS, 0, b"\x08", "little")
        self.assertEqual(self.image.bits(COILS, 0, 9), (*[False] * 3, True, *[False] * 4, None))

    def test_areas_that_meet_become_one(self) -> None:
        for address in (10, 14, 12):
            self.image.merge_change(HOLDING, address, bytes(4), "big")
        self.assertEqual(self.image.known(HOLDING), (range(10, 16),))

    def test_functions_do_not_meet(self) -> None:
        for function in READS:
            self.image.merge(ReadRequest(1, function, 0, 16), b"\xff" * (2 if function.reads_bits else 32))
            self.image.merge(ReadRequest(1, function, LAST, 1), b"\x01" if function.reads_bits else b"\x00\x01")
        for function in READS:
            self.assertEqual(self.image.known(function), (range(16), range(LAST, LAST + 1)))

    def test_what_has_no_place(self) -> None:
        for merge, complaint in (
            (lambda: self.image.merge(PLAN[0], bytes(11)), "11 bytes of values for a count of 90"),
            (lambda: self.image.merge(PLAN[1], bytes(91)), "91 bytes of values for a count of 45"),
            (lambda: self.image.merge_change(HOLDING, 0, b"\x01", "big"), "1 bytes are no registers"),
            (lambda: self.image.merge_change(HOLDING, 0, b"", "big"), "count 0"),
            (lambda: self.image.merge_change(COILS, 0, b"", "big"), "count 0"),
            (lambda: self.image.merge_change(HOLDING, LAST, bytes(4), "big"), "not within 0..65535"),
            (lambda: self.image.merge_change(COILS, LAST - 6, bytes(1), "big"), "not within 0..65535"),
            (lambda: self.image.merge_change(HOLDING, -1, bytes(2), "big"), "address -1"),
            (lambda: self.image.merge_change(Function.WRITE_REGISTER, 0, bytes(2), "big"), "06 reads nothing"),
            (lambda: self.image.register(COILS, 0), "function 01 reads bits"),
            (lambda: self.image.registers(INPUTS, 0, 1), "function 02 reads bits"),
            (lambda: self.image.bit(HOLDING, 0), "function 03 reads no bits"),
            (lambda: self.image.bits(INPUT_REGISTERS, 0, 1), "function 04 reads no bits"),
            (lambda: self.image.registers(HOLDING, LAST, 2), "not within 0..65535"),
            (lambda: self.image.known(Function.WRITE_COIL), "05 reads nothing"),
        ):
            with self.subTest(complaint), self.assertRaisesRegex(ImageError, complaint):
                merge()
        self.assertEqual(self.image.to_bytes(), b"\x01")


class BoundsTests(SynchronousTestCase):
    def test_memory_of_a_usual_device(self) -> None:
        self.assertEqual(full_image().known(HOLDING), (range(56),))
        self.assertLessEqual(size_of(full_image()), 1024)

    def test_scattered_addresses(self) -> None:
        image = RegisterImage()
        for address in range(0, MAX_AREAS * 2, 2):
            image.merge_change(HOLDING, address, b"\x12\x34", "big")
        before = image.to_bytes()
        for function, address in ((HOLDING, 30000), (COILS, 0), (HOLDING, MAX_AREAS * 2)):
            self.assertRaisesRegex(ImageFullError, "128 areas", image.merge_change, function, address, bytes(2), "big")
        self.assertEqual(image.to_bytes(), before)
        self.assertLessEqual(size_of(image), 32 * 1024)
        self.assertEqual(list(image.merge_change(HOLDING, 0, b"\x12\x35", "big")), [0], "what is known still changes")
        self.assertEqual(list(image.merge_change(HOLDING, 1, b"\x12\x35", "big")), [1], "two areas become one")
        self.assertEqual(list(image.merge_change(COILS, 0, b"\x01", "big")), list(range(8)), "so there is room again")

    def test_to_forget_in_the_middle_of_the_last_possible_area(self) -> None:
        """There is no room for one area more: what lies behind is forgotten, too."""
        image = RegisterImage()
        for n in range(MAX_AREAS - 1):
            image.merge_change(HOLDING, n * 2, b"\x12\x34", "big")
        image.merge_change(HOLDING, 1000, b"\x00\x01" * 5, "big")
        image.forget(HOLDING, 1002, 1)
        self.assertEqual(image.registers(HOLDING, 999, 6), (None, 1, 1, None, None, None))
        self.assertEqual(RegisterImage.from_bytes(image.to_bytes()).to_bytes(), image.to_bytes())
        self.assertRaises(ImageError, image.forget, HOLDING, LAST, 2)

    def test_to_copy(self) -> None:
        """A part of what another one knows, and only that."""
        source, target = full_image(), RegisterImage()
        source.forget(HOLDING, 20, 3)
        target.merge_change(HOLDING, 30, b"\0\7", "big")
        target.copy(source, HOLDING, 18, 8)
        target.copy(source, COILS, 5, 20)
        self.assertEqual(target.known(HOLDING), (range(18, 20), range(23, 26), range(30, 31)))
        self.assertEqual(target.registers(HOLDING, 23, 3), source.registers(HOLDING, 23, 3))
        self.assertEqual(target.known(COILS), (range(5, 25),))
        self.assertEqual(target.bits(COILS, 5, 20), source.bits(COILS, 5, 20))
        target.copy(source, INPUTS, 0, 100)
        self.assertEqual(target.known(INPUTS), ())

    def test_all_there_is(self) -> None:
        image = RegisterImage()
        most = MAX_VALUE_BYTES // 2
        image.merge_change(HOLDING, 0, bytes(MAX_VALUE_BYTES - 2), "big")
        self.assertRaisesRegex(ImageFullError, "4096 bytes", image.merge_change, HOLDING, most - 1, bytes(4), "big")
        self.assertRaises(ImageFullError, image.merge_change, INPUT_REGISTERS, 0, bytes(4), "big")
        self.assertRaises(ImageFullError, RegisterImage().merge_change, HOLDING, 0, bytes(MAX_VALUE_BYTES + 2), "big")
        image.merge_change(HOLDING, most - 1, bytes(2), "big")
        self.assertEqual(image.known(HOLDING), (range(most),))
        self.assertLessEqual(size_of(image), 32 * 1024)

    def test_all_coils(self) -> None:
        image = RegisterImage()
        changed = image.merge_change(COILS, 0, b"\xa5" * MAX_VALUE_BYTES, "big")
        count = MAX_VALUE_BYTES * 8
        self.assertTrue(list(changed) == list(range(count)))
        self.assertEqual(image.known(COILS), (range(count),))
        self.assertEqual(RegisterImage.from_bytes(image.to_bytes()).bits(COILS, count - 8, 8), image.bits(COILS, 0, 8))
        self.assertRaises(ImageFullError, image.merge_change, INPUTS, 0, bytes(1), "big")

    def test_the_longest_encoding(self) -> None:
        image = RegisterImage()
        for address in range(0, MAX_AREAS * 33, 33):
            image.merge_change(HOLDING, address, bytes(MAX_VALUE_BYTES // MAX_AREAS), "big")
        encoded = image.to_bytes()
        self.assertEqual(len(encoded), MAX_ENCODED_LENGTH)
        self.assertEqual(RegisterImage.from_bytes(encoded).to_bytes(), encoded)


class EncodingTests(SynchronousTestCase):
    def test_as_it_stands_in_the_store(self) -> None:
        """A change of this is a change of what databases hold: it needs another version."""
        image = RegisterImage()
        image.merge_change(HOLDING, 6, bytes.fromhex("8813"), "little")
        image.merge(ReadRequest(1, COILS, 0, 10), b"\x01\xfe")
        self.assertEqual(image.to_bytes().hex(), "010100000009010203000600001388")
        self.assertEqual(RegisterImage().to_bytes().hex(), "01")

    def test_garbage(self) -> None:
        for encoded, complaint in (
            ("", "known version"),
            ("02", "known version"),
            ("01" + "00" * MAX_ENCODED_LENGTH, "known version and length"),
            ("0103", "without a head"),
            ("01050000000000", "05 reads nothing"),
            ("01070000000000", "without a head"),
            ("0103FFFF000100000000", "not within 0..65535"),
            ("010300000001000000", "cut short"),
            ("01010000000104", "bits over"),
            ("010300000000000003000100000000", "overlap, touch"),
            ("0103000000010000000003000100000000", "overlap, touch"),
            ("0103000000000000010002000000", "not in order"),
            ("01" + "".join(f"01{place:04X}000001" for place in range(0, 2 * MAX_AREAS + 2, 2)), "128 areas"),
            ("010300000800" + "0000" * 0x0801, "4096 bytes"),
        ):
            with self.subTest(complaint), self.assertRaisesRegex(ImageError, complaint):
                RegisterImage.from_bytes(bytes.fromhex(encoded))

    @given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"\x01" + rest))
    def test_any_garbage(self, encoded: bytes) -> None:
        try:
            image = RegisterImage.from_bytes(encoded)
        except ImageError as error:
            self.assertTrue(str(error).isascii())
        else:
            self.assertEqual(image.to_bytes(), encoded)

    @given(st.data())
    def test_damaged(self, draw: st.DataObject) -> None:
        encoded = bytearray(full_image().to_bytes())
        encoded[draw.draw(st.integers(0, len(encoded) - 1))] ^= draw.draw(st.integers(1, 255))
        del encoded[draw.draw(st.integers(0, len(encoded))) :]
        try:
            image = RegisterImage.from_bytes(bytes(encoded))
        except ImageError:
            pass
        else:
            self.assertEqual(image.to_bytes(), encoded)
