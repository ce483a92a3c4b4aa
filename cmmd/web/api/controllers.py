"""Operations on controller profiles: what there is, and what their registers mean."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from cmmd.controllers.entries import Mode, Severity
from cmmd.controllers.profile import Profile
from cmmd.fleet.service.records import CommandInfo
from cmmd.web.api.context import ApiContext
from cmmd.web.api.operation import Answer, Call, NoQuery
from cmmd.web.http.problems import Refused

__all__ = ["Controller", "ControllerRow", "PointInfo", "SignalInfo", "get_controller", "list_controllers"]


class ControllerRow(Struct, frozen=True, kw_only=True):
    """A controller profile in a list. ``commands``: for ``command_models`` only; ``devices``: how many have it."""

    name: str
    title: str
    models: tuple[str, ...]
    command_models: tuple[str, ...]
    points: int
    signals: int
    commands: int
    devices: int


class PointInfo(Struct, frozen=True, kw_only=True):
    """A point. ``words``: what the values of a state are called, by value; null: it is none."""

    name: str
    title: str
    unit: str
    decimals: int
    address: int
    type: Literal["u16", "s16", "u32"]
    scale: float
    plausible: tuple[float, float] | None
    words: dict[str, str] | None


class SignalInfo(Struct, frozen=True, kw_only=True):
    """A signal: a coil."""

    name: str
    title: str
    severity: Severity
    address: int


class Controller(Struct, frozen=True, kw_only=True):
    """A controller profile; see docs/controllers.md. ``plan``: the requests that devices are ordered to poll.

    ``commands``: of devices of ``command_models``, and of those whose profile an admin has set by hand.
    """

    name: str
    title: str
    models: tuple[str, ...]
    command_models: tuple[str, ...]
    plan: str
    modes: list[Mode]
    points: list[PointInfo]
    signals: list[SignalInfo]
    commands: list[CommandInfo]


async def list_controllers(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """List all profiles of controllers."""
    del call
    counts: dict[str, int] = {}
    fleet = around.desk.fleet
    for place, device in enumerate(fleet.registry.devices()):
        if place % 500 == 0:
            await around.pieces.turn()
        name = around.catalog.of(device.moduletype, device.profile).name
        counts[name] = counts.get(name, 0) + 1
    return Answer(body=[_row(profile, counts) for profile in around.catalog])


def _row(profile: Profile, counts: Mapping[str, int]) -> ControllerRow:
    says = profile.definition
    return ControllerRow(
        name=profile.name,
        title=says.title,
        models=says.models,
        command_models=says.command_models,
        points=len(says.points),
        signals=len(says.signals),
        commands=len(says.commands),
        devices=counts.get(profile.name, 0),
    )


def get_controller(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Get one profile of a controller."""
    profile = around.catalog.profile(call.path["name"])
    if profile is None:
        raise Refused("no_such_controller", "no controller profile has this name", field="path.name")
    says = profile.definition
    words = {one.name: {str(value): word for value, word in one.words.items()} for one in says.enums}
    return Answer(
        body=Controller(
            name=profile.name,
            title=says.title,
            models=says.models,
            command_models=says.command_models,
            plan=profile.plan,
            modes=list(says.modes),
            points=[
                PointInfo(
                    name=one.name,
                    title=one.title,
                    unit=one.unit,
                    decimals=one.decimals,
                    address=one.address,
                    type=one.type,
                    scale=one.scale,
                    plausible=one.plausible_range,
                    words=words.get(one.enum or ""),
                )
                for one in says.points
            ],
            signals=[
                SignalInfo(name=one.name, title=one.title, severity=one.severity, address=one.address)
                for one in says.signals
            ],
            commands=[
                CommandInfo(
                    name=one.name,
                    title=one.title,
                    idempotent=one.idempotent,
                    only_in_mode=one.only_in_mode,
                    confirmable=one.confirmed_by is not None,
                )
                for one in says.commands
            ],
        )
    )
