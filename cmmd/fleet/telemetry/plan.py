"""The polling plan of one device: what its full uploads answer."""

from cmmd.modbus.frames import UploadLayout, parse_plan

__all__ = ["Plan"]


class Plan:
    """The requests that a device was given to poll, in this order.

    :param text: requests separated by ``;``.
    :raises ModbusFrameError: it is no plan.
    :ivar requests: these. :ivar unit: the Modbus unit that answers last.
    :ivar layout: where the values of full uploads are in their bytes.
    """

    __slots__ = ("layout", "requests", "unit")

    def __init__(self, text: str) -> None:
        self.requests = parse_plan(text)
        self.layout = UploadLayout(self.requests)
        self.unit = self.requests[-1].unit if self.requests else None
