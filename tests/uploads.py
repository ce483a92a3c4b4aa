"""Uploads of an HGM6120N, built register by register."""

from collections.abc import Iterable, Mapping

from cmmd.fleet.telemetry.plan import Plan
from cmmd.modbus.frames import parse_plan, read_response
from cmmd.wire.messages import ChangeParams, Changes, ReqData, ReqDataChange
from tests.world import HOSTID

__all__ = ["AT_REST", "HGM6120N_PLAN", "POLLS", "STANDBY", "change_upload", "full_upload"]

POLLS = "01010000005ABC31;01030000002D85D7;0103002E000AA5C4"

HGM6120N_PLAN = Plan(POLLS)

AT_REST = frozenset({6, 41, 65, 74, 76})
"""Coils behind healthy mains in auto mode; the last two are set while the generator is at rest."""

STANDBY: Mapping[int, int] = {
    **dict.fromkeys((0, 1, 2), 230), **dict.fromkeys((3, 4, 5), 398), 6: 5000, 17: 31, 21: 80, 24: 268, 34: 0, 47: 12,
}  # fmt: skip
"""Registers that go with it."""


def full_upload(
    registers: Mapping[int, int] = STANDBY, coils: Iterable[int] = AT_REST, hostid: str = HOSTID
) -> ReqData:
    """A full upload with all three frames; what is not named is 0."""
    frames = []
    for request in parse_plan(POLLS):
        if request.function.reads_bits:
            payload = sum(1 << coil for coil in set(coils)).to_bytes(12, "little")
        else:
            addresses = range(request.address, request.address + request.count)
            payload = b"".join(registers.get(address, 0).to_bytes(2, "big") for address in addresses)
        frames.append(read_response(request, payload))
    return ReqData(params=";".join(frames), hostid=hostid)


def change_upload(
    registers: Mapping[int, int] | None = None,
    coil_bytes: Mapping[int, int] | None = None,
    hostid: str = HOSTID,
    **inputs: int,
) -> ReqDataChange:
    """A change upload, registers little-endian; coils eight at a time by the address of the first."""
    changed: Changes = [
        {f"{address:04X}": value.to_bytes(2, "little").hex()} for address, value in (registers or {}).items()
    ]
    coils: Changes = [{f"{address:04X}": f"{value:02X}"} for address, value in (coil_bytes or {}).items()]
    return ReqDataChange(params=ChangeParams(f01=coils, f03=changed), hostid=hostid, **inputs)
