"""What a link carries: the seam between the protocol's device side and whatever feeds it.

A simulated genset is a source; a serial bus with a real controller is another.
"""

from collections.abc import Awaitable
from typing import Protocol

from cmmd.wire.messages import ChangeParams, LoginParams

__all__ = ["Source"]


class Source(Protocol):
    """Feeds one :class:`cmmd.gateway.link.Link` and takes its orders. All frames are Modbus RTU in hex with CRC."""

    def identity(self) -> LoginParams:
        """Who the device is and how it is wired; asked before every login, ``hostid`` never changes (section 4.1)."""

    def follow(self, plan: str, data_mode: int) -> None:
        """Take what a login answer ordered (section 4.1).

        :param plan: ``para_command``: read requests separated by ``;``. Response *n* of a full upload answers *n*.
        :param data_mode: 0 the link will ask for changes, 1 for everything.
        :raises ValueError: the plan makes no sense; the text says why. The link backs off and logs in again.
        """

    def full_upload(self) -> str:
        """``params`` of reqdata: the response frames of the plan, ``;`` between them; empty: nothing (section 4.4)."""

    def change_upload(self) -> ChangeParams | None:
        """``params`` of reqdatachange: what changed since the last upload of either kind (section 4.5).

        The link numbers the packets.

        :return: None when nothing did.
        """

    def write(self, frame: str) -> Awaitable[bool]:
        """Carry one Modbus write out (section 4.6).

        :param frame: the request as the server sent it: nothing about it is checked yet.
        :return: whether the controller did it. What raises instead leaves the server without an answer.
        """

    def set_port(self, module_port: int | None, module_baud: int | None) -> Awaitable[bool]:
        """Change the wiring to the controller (section 4.6), in the codes of 4.1; None: as it is.

        :return: whether it was done.
        """
