"""``cmmd.modbus.upload_layout``: whole uploads decoded at once, and where the values are in them."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.modbus.frames import ReadRequest, UploadLayout, parse_response, read_response, split_frames
from cmmd.modbus.image import RegisterImage
from tests.test_fleet_telemetry_shortcuts import ODD, PLAN, frames

LAYOUT = UploadLayout(PLAN)
COILS, LOW, HIGH = PLAN


def upload(layout: UploadLayout, payloads: list[bytes]) -> bytes:
    decoded = layout.frames(";".join(map(read_response, layout.requests, payloads)))
    assert decoded is not None
    return decoded


class FramesTests(SynchronousTestCase):
    @given(frames(), st.sampled_from(ODD))
    def test_only_what_reads_frame_by_frame(self, texts: list[str], odd: Any) -> None:
        text = ";".join(odd(texts))
        decoded = LAYOUT.frames(text)
        if decoded is not None:
            self.assertEqual(
                [getattr(parse_response(one), "payload", None) for one in split_frames(text)],
                list(LAYOUT.payloads(decoded)),
            )

    @given(frames())
    def test_what_is_as_it_should_be(self, texts: list[str]) -> None:
        for count in range(1, 4):
            layout = UploadLayout(PLAN[:count])
            decoded = layout.frames(";".join(texts[:count]))
            assert decoded is not None
            self.assertEqual(decoded, b"".join(map(bytes.fromhex, texts[:count])))
            self.assertEqual(len(layout.payloads(decoded)), count)

    def test_no_plan(self) -> None:
        self.assertIsNone(UploadLayout(()).frames("00"))
        self.assertIsNone(UploadLayout(()).frames(""))


class PlacesTests(SynchronousTestCase):
    def test_registers_and_coils(self) -> None:
        decoded = upload(LAYOUT, [bytes(range(1, 13)), bytes(range(90)), bytes(range(100, 120))])
        for address, high in ((0, 0), (6, 12), (44, 88), (46, 100), (55, 118)):
            at = LAYOUT.registers[f"{address:04X}"]
            self.assertEqual(decoded[at : at + 2], bytes((high, high + 1)))
        self.assertNotIn("002D", LAYOUT.registers)
        self.assertEqual({place: decoded[at] for place, (at, _) in LAYOUT.coils.items()}["0050"], 11)
        self.assertEqual(LAYOUT.coils["0000"], (3, 14))
        self.assertNotIn("0058", LAYOUT.coils)  # of this byte only two coils are asked for

    def test_masks(self) -> None:
        zeros = upload(LAYOUT, [bytes(12), bytes(90), bytes(20)])
        ones = upload(LAYOUT, [b"\xff" * 12, b"\xff" * 90, b"\xff" * 20])
        difference = int.from_bytes(zeros, "little") ^ int.from_bytes(ones, "little")
        self.assertEqual((difference & LAYOUT.surplus).bit_count(), 6)
        self.assertEqual((difference & LAYOUT.high_bytes).bit_count(), 8 * 55)
        mask = LAYOUT.mask("me", [1 << 89, 0xFF, 0])
        self.assertEqual(LAYOUT.masks["me"], mask)
        last_coil = upload(LAYOUT, [bytes(11) + b"\x02", bytes(90), bytes(20)])
        first_high_byte = upload(LAYOUT, [bytes(12), b"\x80" + bytes(89), bytes(20)])
        first_low_byte = upload(LAYOUT, [bytes(12), b"\0\x80" + bytes(88), bytes(20)])
        concerned = [int.from_bytes(one, "little") & mask != 0 for one in (last_coil, first_high_byte, first_low_byte)]
        self.assertEqual(concerned, [True, True, False])

    def test_no_image_keeps_what_overlaps_or_touches(self) -> None:
        for second in (ReadRequest(1, LOW.function, 44, 5), ReadRequest(1, LOW.function, 45, 1)):
            image, requests = RegisterImage(), (LOW, second)
            for one in requests:
                image.merge(one, bytes(one.payload_length))
            self.assertFalse(image.settle(UploadLayout(requests)))
        self.assertFalse(RegisterImage().settle(UploadLayout(())))

    def test_another_plan(self) -> None:
        image = RegisterImage()
        for one in PLAN:
            image.merge(one, bytes(one.payload_length))
        self.assertTrue(image.settle(LAYOUT))
        turned = UploadLayout(PLAN[::-1])
        self.assertTrue(image.settle(turned))
        self.assertIs(image.layout, turned)
        self.assertFalse(image.settle(UploadLayout(PLAN[:2])))
        self.assertIs(image.layout, turned)
        image.merge(ReadRequest(1, LOW.function, 45, 1), b"\x12\x34")
        self.assertFalse(image.settle(LAYOUT))
        self.assertEqual(image.known(LOW.function), (range(56),))
