"""The client's calls that decide which devices there are."""

from abc import ABC, abstractmethod
from typing import Any

from cmmd.control import commands
from cmmd.control.link import Link
from cmmd.fleet.service.records import DeviceDetails, EnrolmentNow

__all__ = ["EnrolmentCalls"]


class EnrolmentCalls(ABC):
    """The enrolment policy, the devices that wait, and repairs of hostids: a part of ``ControlClient``."""

    _link: Link

    @abstractmethod
    def _who(self, requester: str | None) -> str:
        """Say who asks, for the audit."""

    async def enrolment(self) -> EnrolmentNow:
        """Give the enrolment policy and the devices that wait for approval."""
        return _enrolment_of(await self._link.ask(commands.GetEnrolment))

    async def set_enrolment(self, policy: str, *, requester: str | None = None) -> EnrolmentNow:
        """Set the enrolment policy: ``open``, ``approve`` or ``known``."""
        return _enrolment_of(await self._link.ask(commands.SetEnrolment, policy=policy, requester=self._who(requester)))

    async def approve(self, hostid: str, *, requester: str | None = None) -> DeviceDetails:
        """Let a device in that waits."""
        return _device(await self._link.ask(commands.ApproveDevice, hostid=hostid, requester=self._who(requester)))

    async def reject(self, hostid: str, *, requester: str | None = None) -> None:
        """Let a device wait no more; it waits again when it comes again."""
        await self._link.ask(commands.RejectDevice, hostid=hostid, requester=self._who(requester))

    async def forget(self, hostid: str, *, requester: str | None = None) -> None:
        """Let a device be unknown from now on."""
        await self._link.ask(commands.ForgetDevice, hostid=hostid, requester=self._who(requester))

    async def reset_password(
        self, hostid: str, password: str | None = None, *, requester: str | None = None
    ) -> DeviceDetails:
        """Forget the password of a device; without a new one that of its next login is taken."""
        who = self._who(requester)
        return _device(await self._link.ask(commands.ResetPassword, hostid=hostid, password=password, requester=who))


def _enrolment_of(answer: dict[str, Any]) -> EnrolmentNow:
    enrolment: EnrolmentNow = answer["enrolment"]
    return enrolment


def _device(answer: dict[str, Any]) -> DeviceDetails:
    device: DeviceDetails = answer["device"]
    return device
