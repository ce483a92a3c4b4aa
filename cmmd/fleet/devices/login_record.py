"""The record of a device as its login changes it (protocol section 4.1)."""

from msgspec.structs import replace

from cmmd.controllers.catalog import Catalog
from cmmd.controllers.evidence.memory import only_byte_order
from cmmd.fleet.devices.places import told_at_login
from cmmd.store.records import Device
from cmmd.wire.messages import LoginParams
from cmmd.wire.quoting import printable

__all__ = ["after_login"]


def after_login(device: Device, params: LoginParams, address: str, at_ms: int, catalog: Catalog) -> Device:
    """Give the record with what the device says now; what it leaves out stays as it was.

    :param address: the host that it logs in from. :param at_ms: when, milliseconds UTC.
    """
    said = {"module_port": params.modulePort, "module_baud": params.moduleBaud}
    moduletype = printable(params.moduletype).strip()
    profile = catalog.of(moduletype, device.profile)
    same_profile = profile.root is catalog.of(device.moduletype, device.profile).root
    return replace(
        device,
        hostname=printable(params.hostname).strip(),
        moduletype=moduletype,
        para_command=profile.plan,
        evidence=device.evidence if same_profile else only_byte_order(device.evidence),
        oldest_undecided_at=device.oldest_undecided_at if same_profile else None,
        last_login_at=at_ms,
        last_login_address=address,
        **{name: value for name, value in said.items() if value is not None},
        **told_at_login(device, params),
    )
