"""All certain registers at once are those that Known has, one after the other."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.fleet.telemetry.register_state import CertainRegisters, RegisterState
from cmmd.modbus.frames import Function, ReadRequest
from cmmd.store.records import ByteOrder

PROFILES = [load_catalog().for_moduletype(model) for model in ("HGM6120N", "HGM4020N")]
LAST_ADDRESS = 90
addresses = st.integers(0, LAST_ADDRESS)
registers = st.one_of(st.sampled_from((0, 1, 9, 230, 5000, 32766, 32767, 32768, 65535)), st.integers(0, 65535))
responses = st.tuples(st.just("response"), addresses, st.lists(registers, min_size=1, max_size=60))
changes = st.tuples(st.sampled_from(("change", "undecided", "outdate")), addresses, registers.map(lambda one: [one]))


def known_after(byte_order: ByteOrder | None, steps: list[tuple[str, int, list[int]]]) -> RegisterState:
    """The registers of a controller after uploads, and after frames that did not come."""
    known = RegisterState(byte_order)
    for kind, address, contents in steps:
        payload = b"".join(one.to_bytes(2, "big") for one in contents)
        if kind == "response":
            known.take(ReadRequest(1, Function.READ_HOLDING_REGISTERS, address, len(contents)), payload)
        elif kind == "change":
            known.take_change(Function.READ_HOLDING_REGISTERS, address, payload)
        elif kind == "undecided":
            known.take_undecided(Function.READ_HOLDING_REGISTERS, address, payload)
        else:
            known.outdate(Function.READ_HOLDING_REGISTERS, address, 1 + contents[0] % 8)
    return known


class CertainRegistersTests(SynchronousTestCase):
    @given(st.sampled_from(("little", "big", None)), st.lists(responses | changes, max_size=8))
    def test_same_as_known(self, byte_order: ByteOrder | None, steps: list[tuple[str, int, list[int]]]) -> None:
        known = known_after(byte_order, steps)
        certain = CertainRegisters(known)
        for address in range(LAST_ADDRESS + 62):
            self.assertEqual(certain.register(address), known.register(address), address)
        for profile in PROFILES:
            self.assertEqual(profile.values(certain), profile.values(known))
            self.assertEqual(profile.completeness(certain), profile.completeness(known))

    def test_as_they_were(self) -> None:
        known = known_after("big", [("response", 0, [1, 2, 3])])
        certain = CertainRegisters(known)
        known_then = [known.register(address) for address in range(4)]
        known.take_change(Function.READ_HOLDING_REGISTERS, 1, b"\0\7")
        self.assertEqual([certain.register(address) for address in range(4)], known_then)

    def test_coils(self) -> None:
        known = RegisterState(None)
        known.take(ReadRequest(1, Function.READ_COILS, 8, 3), b"\5")
        certain = CertainRegisters(known)
        self.assertEqual([certain.coil(address) for address in range(7, 12)], [None, True, False, True, None])
