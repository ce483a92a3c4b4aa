"""Operations on which devices there are: the enrolment policy, the devices that wait, and repairs."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from msgspec import Meta

from cmmd.fleet.commands.queue import Requester
from cmmd.fleet.service.operations import ControlService
from cmmd.fleet.service.records import DeviceDetails, EnrolmentNow
from cmmd.web.api.context import ApiContext
from cmmd.web.api.operation import Answer, Body, Call, NoQuery, Operation

__all__ = [
    "OPERATIONS",
    "PasswordBody",
    "PolicyBody",
    "decided",
    "get_enrolment",
    "reset_password",
    "set_enrolment",
]


class PolicyBody(Body, frozen=True, kw_only=True):
    """``open``: an unknown device is registered at its first login; ``approve``: it waits; ``known``: it is refused."""

    policy: Literal["open", "approve", "known"]


class PasswordBody(Body, frozen=True, kw_only=True):
    """The new password of the device; null: that of its next login."""

    password: Annotated[str, Meta(min_length=1, max_length=20)] | None = None


def get_enrolment(around: ApiContext, _: Call[NoQuery, None]) -> Answer:
    """Give the policy and the devices that wait."""
    return Answer(body=around.desk.enrolment())


def set_enrolment(around: ApiContext, call: Call[NoQuery, PolicyBody]) -> Answer:
    """Set the policy from now on."""
    return Answer(body=around.desk.set_enrolment(call.body.policy, call.caller.by))


def decided(
    decide: Callable[[ControlService, str, Requester], Awaitable[DeviceDetails | None] | None],
) -> Callable[[ApiContext, Call[NoQuery, None]], Awaitable[Answer]]:
    """Make an operation of a decision on one device, which needs nothing but its hostid.

    :param decide: a method of the service; what it returns is the device as it is now, or nothing.
    """

    async def run(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
        deciding = decide(around.desk, call.hostid, call.caller.by)
        device = None if deciding is None else await deciding
        if device is None:
            return Answer(status=204)
        around.feed.touch(call.hostid)  # watchers get its row, which they have not seen yet
        return Answer(body=device)

    return run


async def reset_password(around: ApiContext, call: Call[NoQuery, PasswordBody]) -> Answer:
    """Forget the password of a device."""
    device = await around.desk.reset_password(call.hostid, call.body.password, call.caller.by)
    around.feed.touch(call.hostid)
    return Answer(body=device)


_WRITES = ("bad_csrf_token", "too_large")
_TAKES = (*_WRITES, "unsupported_media_type")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="get_enrolment",
        method="GET",
        path="/enrolment",
        tag="devices",
        role="operator",
        summary="Who can register, and which devices wait for approval.",
        run=get_enrolment,
        answers={200: EnrolmentNow},
    ),
    Operation(
        name="set_enrolment",
        method="PUT",
        path="/enrolment",
        tag="devices",
        role="admin",
        summary="Set the enrolment policy from now on, also after a restart.",
        run=set_enrolment,
        body=PolicyBody,
        answers={200: EnrolmentNow},
        errors=(*_TAKES, "unavailable"),
    ),
    Operation(
        name="approve_device",
        method="POST",
        path="/enrolment/{hostid}/approve",
        tag="devices",
        role="admin",
        summary="Let a device in that waits. It has to show the password of its first login.",
        run=decided(ControlService.approve),
        answers={200: DeviceDetails},
        errors=(*_WRITES, "unknown_device", "already_enrolled", "registry_full", "unavailable"),
    ),
    Operation(
        name="reject_device",
        method="DELETE",
        path="/enrolment/{hostid}",
        tag="devices",
        role="admin",
        summary="Let a device wait no more; it waits again when it comes again.",
        run=decided(ControlService.reject),
        answers={204: None},
        errors=(*_WRITES, "unknown_device"),
    ),
    Operation(
        name="forget_device",
        method="DELETE",
        path="/devices/{hostid}",
        tag="devices",
        role="admin",
        summary="Let a device be unknown from now on; what was kept of it stays as long as everything else.",
        run=decided(ControlService.forget),
        answers={204: None},
        errors=(*_WRITES, "unknown_device", "locked", "under_way", "unavailable"),
    ),
    Operation(
        name="reset_password",
        method="POST",
        path="/devices/{hostid}/reset-password",
        tag="devices",
        role="admin",
        summary="Forget the password of a device and end its sessions: it has to log in anew.",
        run=reset_password,
        body=PasswordBody,
        answers={200: DeviceDetails},
        errors=(*_TAKES, "unknown_device", "under_way", "unavailable"),
    ),
)
"""The operations of this module, a part of the table."""
