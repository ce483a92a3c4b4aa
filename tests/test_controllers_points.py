"""Raw registers to engineering values."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.points import Point


def point(**more: object) -> Point:
    return msgspec.convert({"name": "p", "title": "P", "address": 5, **more}, Point)


class ValueTests(SynchronousTestCase):
    def test_u16(self) -> None:
        self.assertEqual(point().value([0]), 0)
        self.assertEqual(point().value([65535]), 65535)
        self.assertIsInstance(point().value([1]), int)

    def test_s16(self) -> None:
        temperature = point(type="s16")
        for raw, value in ((0, 0), (200, 200), (32765, 32765), (32768, -32768), (65535, -1), (65486, -50)):
            self.assertEqual(temperature.value([raw]), value)

    def test_scale(self) -> None:
        self.assertEqual(point(scale=0.01).value([5000]), 50.0)
        self.assertEqual(point(scale=0.1).value([3]), 0.3)
        self.assertEqual(point(scale=0.01, type="s16").value([65536 - 87]), -0.87)
        self.assertEqual(point(scale=10).value([7]), 70)
        self.assertEqual(point(scale=0.1, type="u32").value([0xFFFF, 0xFFFF]), 429496729.5)

    def test_u32(self) -> None:
        hours = point(type="u32")
        self.assertEqual(hours.addresses, range(5, 7))
        self.assertEqual(hours.value([0, 1234]), 1234)
        self.assertEqual(hours.value([1, 2]), 65538)
        self.assertEqual(hours.value([0xFFFF, 0xFFFF]), 2**32 - 1)

    def test_no_data(self) -> None:
        for kind in ("u16", "s16"):
            for raw in (32766, 32767, None):
                self.assertIsNone(point(type=kind, scale=0.1).value([raw]))
        for registers in ([32766, 32766], [32767, 32767], [32767, 65535], [32766, 0], [None, 1], [1, None]):
            self.assertIsNone(point(type="u32").value(registers))

    def test_low_word_that_looks_like_no_data_is_a_number(self) -> None:
        self.assertEqual(point(type="u32").value([0, 32766]), 32766)
        self.assertEqual(point(type="u32").value([1, 32767]), 98303)

    @given(st.integers(0, 65535), st.sampled_from([1, 0.1, 0.01, 0.001]), st.sampled_from(["u16", "s16"]))
    def test_nearest_to_the_decimal_number(self, raw: int, scale: float, kind: str) -> None:
        value = point(type=kind, scale=scale).value([raw])
        if raw in (32766, 32767):
            self.assertIsNone(value)
        else:
            signed = raw - 65536 if kind == "s16" and raw > 32767 else raw
            self.assertEqual(value, signed / round(1 / scale))


class PlausibleTests(SynchronousTestCase):
    def test_both_ends_are_in(self) -> None:
        frequency = point(plausible=[0, 75])
        for value, plausible in ((0, True), (75, True), (75.01, False), (-0.01, False), (50, True)):
            self.assertEqual(frequency.plausible(value), plausible, value)

    def test_raw(self) -> None:
        """No data is nothing that contradicts."""
        frequency = point(scale=0.01, plausible=[0, 75])
        for raw, plausible in ((0, True), (7500, True), (7501, False), (34835, False), (32766, True), (32767, True)):
            self.assertEqual(frequency.plausible_raw(raw), plausible, raw)
        self.assertTrue(point().plausible_raw(65535))

    def test_without_a_range(self) -> None:
        self.assertTrue(point().plausible(1e9))


class DecimalsTests(SynchronousTestCase):
    def test_as_many_as_the_scale_has(self) -> None:
        for scale, decimals in ((1, 0), (0.1, 1), (0.01, 2), (0.25, 2), (10, 0), (0.000001, 6), (2.5, 1)):
            self.assertEqual(point(scale=scale).decimals, decimals, scale)
