"""Coordinates: what a device says, in WGS-84."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.places import bd09_of_gcj02, gcj02_of_wgs84, wgs84

BD09, GPS = 0, 1

# Longitude and latitude in WGS-84 and in GCJ-02: the pairs of https://github.com/googollee/eviltransform, and the last
# one of https://github.com/wandergis/coordtransform.
GCJ02_PAIRS = (
    ((121.5272106, 31.1774276), (121.531541859215, 31.17530398364597)),  # Shanghai
    ((113.912316, 22.543847), (113.9171764808363, 22.540796131694766)),  # Shenzhen
    ((116.377817, 39.911954), (116.38404722455657, 39.91334545536069)),  # Beijing
    ((116.404, 39.915), (116.41024449916938, 39.91640428150164)),
)
# In GCJ-02 and in BD-09: likewise.
BD09_PAIR = ((116.404, 39.915), (116.41036949371029, 39.92133699351021))


class CoordinatesTestCase(SynchronousTestCase):
    def assert_near(self, place: tuple[float, float] | None, expected: tuple[float, float], delta: float) -> None:
        assert place is not None
        for one, other in zip(place, expected, strict=True):
            self.assertApproximates(one, other, delta)


class KnownPairsTests(CoordinatesTestCase):
    def test_gcj02(self) -> None:
        for place, expected in GCJ02_PAIRS:
            self.assert_near(gcj02_of_wgs84(*place), expected, 1e-9)

    def test_bd09(self) -> None:
        self.assert_near(bd09_of_gcj02(*BD09_PAIR[0]), BD09_PAIR[1], 1e-9)

    def test_what_a_device_says(self) -> None:
        for place, in_gcj02 in GCJ02_PAIRS:
            longitude, latitude = bd09_of_gcj02(*in_gcj02)
            self.assert_near(wgs84(f"{longitude:.10f}", f"{latitude:.10f}", BD09), place, 1e-6)


class PropertyTests(CoordinatesTestCase):
    @given(st.floats(73, 137), st.floats(1, 55))
    def test_back_and_forth_in_china(self, longitude: float, latitude: float) -> None:
        said = bd09_of_gcj02(*gcj02_of_wgs84(longitude, latitude))
        place = wgs84(f"{said[0]:.10f}", f"{said[1]:.10f}", BD09)
        self.assert_near(place, (longitude, latitude), 1e-6)
        assert place is not None
        self.assert_near(bd09_of_gcj02(*gcj02_of_wgs84(*place)), said, 2e-6)

    @given(st.floats(-179, 71), st.floats(-89, 89))
    def test_outside_gcj02_is_wgs84(self, longitude: float, latitude: float) -> None:
        self.assertEqual(gcj02_of_wgs84(longitude, latitude), (longitude, latitude))
        said = bd09_of_gcj02(longitude, latitude)
        self.assert_near(wgs84(f"{said[0]:.10f}", f"{said[1]:.10f}", BD09), (longitude, latitude), 1e-6)

    @given(st.one_of(st.none(), st.text(max_size=20)), st.one_of(st.none(), st.text(max_size=20)), st.integers(0, 9))
    def test_garbage_is_no_place(self, longitude: str | None, latitude: str | None, gpsen: int) -> None:
        place = wgs84(longitude, latitude, gpsen)
        if place is not None:
            self.assertTrue(abs(place[0]) <= 180 and abs(place[1]) <= 90)
            self.assertIn(gpsen, (BD09, GPS))


class SaidTests(CoordinatesTestCase):
    def test_gps(self) -> None:
        for longitude, latitude, expected in (
            ("116.404", "39.915", (116.404, 39.915)),
            (" 8.5\t", "+47.", (8.5, 47.0)),
            ("-0.12345678", "0051.5", None),
            ("-0.12345678", "051.5", (-0.123457, 51.5)),
            ("180", "-90", (180.0, -90.0)),
            ("0", "0.1", (0.0, 0.1)),
        ):
            self.assertEqual(wgs84(longitude, latitude, GPS), expected, (longitude, latitude))

    def test_no_place(self) -> None:
        for text in (
            None,
            "",
            " ",
            "nan",
            "inf",
            "1e2",
            "1_0",
            "0x1",
            "1,5",
            "5E",
            "E5",
            "5°",
            "１２",
            "--5",
            ".",
            "180.1",
        ):
            self.assertIsNone(wgs84(text, "39.915", GPS), text)
            self.assertIsNone(wgs84(text, "39.915", BD09), text)
        for text in (None, "", "N", "90.0001", "-91"):
            self.assertIsNone(wgs84("116.404", text, GPS), text)

    def test_no_fix(self) -> None:
        self.assertIsNone(wgs84("0", "0.0000", GPS))
        self.assertIsNone(wgs84("-0.0", "000", BD09))

    def test_never_guessed(self) -> None:
        for gpsen in (None, 2, 9, -1):
            self.assertIsNone(wgs84("116.404", "39.915", gpsen))

    def test_beyond_the_edge_of_the_earth(self) -> None:
        self.assertIsNone(wgs84("-180", "10", BD09))
        self.assertIsNone(wgs84("10", "-90", BD09))
