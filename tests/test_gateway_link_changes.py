"""``cmmd.gateway.link.changes``: what a change upload says of two readings."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.changes import ByteOrder, change_params, changed_items
from cmmd.modbus.frames import Function, ReadRequest
from cmmd.modbus.image import RegisterImage
from cmmd.wire.messages import ChangeParams

REGISTERS = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0x2D, 3)
COILS = ReadRequest(1, Function.READ_COILS, 16, 20)


class ItemTests(SynchronousTestCase):
    def test_registers(self) -> None:
        before, now = bytes.fromhex("000100EF1388"), bytes.fromhex("000100EE1389")
        self.assertEqual(changed_items(REGISTERS, before, now, "little"), [{"002E": "EE00"}, {"002F": "8913"}])
        self.assertEqual(changed_items(REGISTERS, before, now, "big"), [{"002E": "00EE"}, {"002F": "1389"}])

    def test_coils(self) -> None:
        before, now = bytes.fromhex("00FF01"), bytes.fromhex("80FF02")
        for order in ("little", "big"):
            self.assertEqual(changed_items(COILS, before, now, order), [{"0010": "80"}, {"0020": "02"}])

    def test_nothing_changed(self) -> None:
        self.assertEqual(changed_items(REGISTERS, b"\1" * 6, b"\1" * 6), [])

    def test_nothing_was_told_before(self) -> None:
        """All of it is told, zeros too."""
        zeros = [{f"{address:04X}": "0000"} for address in (0x2D, 0x2E, 0x2F)]
        self.assertEqual(changed_items(REGISTERS, None, bytes(6)), zeros)
        self.assertEqual(changed_items(COILS, None, bytes(3)), [{"0010": "00"}, {"0018": "00"}, {"0020": "00"}])

    @given(st.binary(min_size=6, max_size=6), st.binary(min_size=6, max_size=6), st.sampled_from(["little", "big"]))
    def test_a_server_makes_of_them_what_was_read(self, before: bytes, now: bytes, order: ByteOrder) -> None:
        image = RegisterImage()
        image.merge(REGISTERS, before)
        for item in changed_items(REGISTERS, before, now, order):
            for place, value in item.items():
                image.merge_change(Function.READ_HOLDING_REGISTERS, int(place, 16), bytes.fromhex(value), order)
        read = RegisterImage()
        read.merge(REGISTERS, now)
        self.assertEqual(image.to_bytes(), read.to_bytes())


class ParamsTests(SynchronousTestCase):
    def test_by_function(self) -> None:
        changes = {function: [{"0000": f"{function:02X}"}] for function in Function if function.reads}
        self.assertEqual(
            change_params(changes),
            ChangeParams(f01=[{"0000": "01"}], f02=[{"0000": "02"}], f03=[{"0000": "03"}], f04=[{"0000": "04"}]),
        )

    def test_nothing(self) -> None:
        self.assertIsNone(change_params({}))
        self.assertIsNone(change_params({Function.READ_COILS: []}))
