"""What a server knows from the uploads of a controller on a bus, next to what that controller said."""

from collections.abc import Callable, Sequence

from twisted.internet.task import Clock

from cmmd.controllers.catalog import load_catalog
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.telemetry.genset_state import StateDetector
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.plan import Plan
from cmmd.fleet.telemetry.telemetry import Telemetry
from cmmd.gateway.bus import Bus
from cmmd.gateway.link.source import NO_INPUTS
from cmmd.gateway.poller import BusSource
from cmmd.modbus.frames import Function, ReadRequest
from cmmd.modbus.image import RegisterImage
from cmmd.store.records import Device
from cmmd.wire.messages import ChangeParams, LoginParams
from tests.bus_world import Controller
from tests.fake_bus import FakeWiring
from tests.scripted_server import HOSTID

__all__ = ["Uploaded"]

CATALOG = load_catalog()
CHANGES_OF: dict[Function, Callable[[ChangeParams], list[dict[str, str]]]] = {
    Function.READ_COILS: lambda changes: changes.f01,
    Function.READ_HOLDING_REGISTERS: lambda changes: changes.f03,
}


class Uploaded:
    """Has a plan polled and uploaded, and compares.

    A controller's values are made of addresses and of a version, which grows: see :class:`tests.bus_world.Controller`.

    :param version: the version that the controller gives now.
    :ivar wrong: what the server took that the controller did not say of these addresses, or said before that.
    :ivar blocks: how many blocks the server took, or knew to be as they were.
    """

    def __init__(self, bus: Bus, plan: Sequence[ReadRequest], version: Callable[[], int], data_mode: int) -> None:
        self.wrong: list[str] = []
        self.blocks = 0
        self._plan = plan
        self._version = version
        self._data_mode = data_mode
        self._image = RegisterImage()
        self._seen: dict[ReadRequest, int] = {}  # the version that the server has
        self._missing: dict[ReadRequest, int] = {}  # since which version it has none
        self._source = BusSource(_identity, bus, wiring=FakeWiring(), inputs=lambda: NO_INPUTS, catalog=CATALOG)
        self._source.follow(self._orders, data_mode)
        self._full_is_due = True

    @property
    def _orders(self) -> str:
        return ";".join(request.to_hex() for request in self._plan)

    async def upload(self) -> None:
        """One cycle, and what a server makes of it."""
        began = self._version()
        if self._data_mode == 1 or self._full_is_due:
            self._full_is_due = False
            self._take_full(await self._source.full_upload())
        else:
            changes = await self._source.change_upload()
            if isinstance(changes, str):
                self._take_full(changes)
            elif changes is not None:
                self._take_changes(changes)
        for request in self._plan:
            self._compare(request, began)

    def _take_full(self, params: str) -> None:
        profile = CATALOG.for_moduletype(_identity().moduletype)
        device = Device(hostid=HOSTID, hostname="", password_hash=None, moduletype="HGM6120N", registered_at=0)
        record = LiveRecord(device, profile, Plan(self._orders), StateDetector(profile))
        Telemetry(Counters(), Clock(), lambda *_: None).full(record, params, Plan(self._orders))
        self._image = record.known.image

    def _take_changes(self, changes: ChangeParams) -> None:
        for function, items in CHANGES_OF.items():
            for item in items(changes):
                for address, value in item.items():
                    self._image.merge_change(function, int(address, 16), bytes.fromhex(value), "big")

    def _compare(self, request: ReadRequest, began: int) -> None:
        known = [self._known(request.function, request.address + place) for place in range(request.count)]
        if None in known:
            if set(known) != {None}:
                self.wrong.append(f"{request}: a part of it: {known}")
            self._missing.setdefault(request, began)
            return
        oldest = self._missing.pop(request, began)  # what was asked for then may be what came now
        if self._data_mode == 0:
            oldest = self._seen.get(request, 0)  # what was not read has not changed
        for version in range(oldest, self._version() + 1):
            if known == _said(request, version):
                self._seen[request] = version
                self.blocks += 1
                return
        self.wrong.append(f"{request}: {known}, no version from {oldest} to {self._version()}")

    def _known(self, function: Function, address: int) -> int | bool | None:
        if function == Function.READ_COILS:
            return self._image.bit(function, address)
        return self._image.register(function, address)


def _said(request: ReadRequest, version: int) -> list[int | bool]:
    controller = Controller(version=lambda: version)
    said = controller.coil if request.function == Function.READ_COILS else controller.register
    return [said(request.address + place) for place in range(request.count)]


def _identity() -> LoginParams:
    return LoginParams(hostid=HOSTID, hostname="Real", password="123456", moduletype="HGM6120N")
