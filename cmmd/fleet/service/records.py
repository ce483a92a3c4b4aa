"""Records that operations answer with, and cursors: the end of a page as a text for the next request."""

import re

from msgspec import UNSET, Struct, UnsetType

from cmmd.controllers.entries import Mode
from cmmd.fleet.errors import BadArgument
from cmmd.fleet.telemetry.view import HypothesisNow, View
from cmmd.store.records import Cursor, Reason

__all__ = [
    "CandidateRow",
    "Changes",
    "CommandInfo",
    "DeviceDetails",
    "DeviceRow",
    "Ended",
    "EnrolmentNow",
    "LiveNow",
    "Lock",
    "RawRun",
    "ReadingRow",
    "Settings",
    "StatusNow",
    "cursor_from",
    "cursor_text",
]


_CURSOR = re.compile(r"(-?[0-9]{1,19})\.([0-9]{1,19})", re.ASCII)


def cursor_text(cursor: Cursor) -> str:
    """A place in the order of time, as programs hand it back."""
    return f"{cursor.at}.{cursor.number}"


def cursor_from(text: str | None) -> Cursor | None:
    """Parse the text of a cursor.

    :raises BadArgument: the daemon has issued no such cursor.
    """
    if text is None:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise BadArgument("after: not a place that a page before has named")
    return Cursor(int(found[1]), int(found[2]))


class StatusNow(Struct, frozen=True, kw_only=True):
    """The state of the daemon now.

    :ivar now: its clock. :ivar started_at: when it came up.
    :ivar devices: registered; :ivar enrolment: the policy in force; :ivar waiting: devices that wait for
        approval; :ivar online: with a live session; :ivar sessions: of all of them.
    :ivar alarms: open ones by severity.
    :ivar store_up: whether the store took what it was given last; :ivar backlog: rows that wait for it.
    :ivar bytes_received: from devices, since the start, as all that follows.
    :ivar messages: by method; :ivar uploads: by kind; :ivar logins: by retcode.
    :ivar readings: kept uploads, by reason.
    :ivar peer_errors: what was not taken from devices, by reason.
    :ivar bugs: exceptions that are bugs of cmmd.
    """

    version: str
    now: int
    started_at: int
    devices: int
    enrolment: str
    waiting: int
    online: int
    sessions: int
    alarms: dict[str, int]
    store_up: bool
    backlog: int
    bytes_received: int
    messages: dict[str, int]
    uploads: dict[str, int]
    readings: dict[str, int]
    logins: dict[str, int]
    peer_errors: dict[str, int]
    bugs: int


class CandidateRow(Struct, frozen=True, kw_only=True):
    """A device that waits to be let in.

    :ivar address: the host of its first login. :ivar first_at: when that was, milliseconds UTC; :ivar last_at: the
        latest login. :ivar attempts: its logins.
    :ivar contested: a login came with another password or from another address: two claim to be this device.
    :ivar profile: the controller profile that its ``moduletype`` suggests; :ivar profile_by: how certain that is:
        ``model``, ``family`` (the name begins like one of its models) or ``default`` (there is no profile for it).
    """

    hostid: str
    hostname: str
    moduletype: str
    profile: str
    profile_by: str
    address: str
    first_at: int
    last_at: int
    attempts: int
    contested: bool


class EnrolmentNow(Struct, frozen=True, kw_only=True):
    """The enrolment policy and its queue.

    :ivar policy: ``open``, ``approve`` or ``known``, see docs/security.md.
    :ivar waiting: devices that wait for approval, the longest waiting first.
    """

    policy: str
    waiting: list[CandidateRow]


class Lock(Struct, frozen=True):
    """A maintenance lock: while it is set, nothing that may set something in motion is sent to the device.

    :ivar by: who locked it. :ivar at: when, milliseconds UTC.
    """

    by: str
    at: int
    reason: str


class DeviceRow(Struct, frozen=True, kw_only=True):
    """A device in a list.

    :ivar number: of its registration.
    :ivar profile: the name of its controller's profile.
    :ivar address: the host that its live session comes from; None: it is offline.
    :ivar at: when the newest upload came; None: never. :ivar upload: its running number.
    :ivar stale: nothing has come since the daemon's start.
    :ivar alarms: how many are open.
    :ivar lock: the maintenance lock; None: it is not locked.
    :ivar active_inputs: the device's own inputs that were active when they were last said, however long ago.
    :ivar in_doubt: the hosts whose sessions make it doubtful which device is there; none: it is certain.
    """

    number: int
    hostid: str
    hostname: str
    moduletype: str
    profile: str
    enabled: bool
    online: bool
    address: str | None
    last_login_at: int | None
    upload: int
    at: int | None
    stale: bool
    engine_state: str | None
    engine_turns: bool | None
    mode: Mode | None
    alarms: int
    lock: Lock | None
    active_inputs: list[str]
    in_doubt: list[str]


class CommandInfo(Struct, frozen=True, kw_only=True):
    """A command that a device's profile has; see docs/controllers.md."""

    name: str
    title: str
    idempotent: bool
    only_in_mode: Mode | None
    confirmable: bool


class Settings(Struct, frozen=True, kw_only=True):
    """The owner's settings of a device; None: as the configuration, or the device, says.

    :ivar history: whether it can say when an upload was (``itime``).
    :ivar read_as: how the device is to be read whatever its uploads show, such as ``byte_order=big, scale=tenths``.
    """

    enabled: bool
    history: bool
    history_interval: float | None
    data_mode: int | None
    online_rate: int | None
    offline_rate: int | None
    set_port: int | None
    set_baud: int | None
    profile: str | None
    read_as: str | None


class Changes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of a device's settings. A field that is left out stays; None: back to the default."""

    enabled: bool | UnsetType = UNSET
    history: bool | UnsetType = UNSET
    history_interval: float | UnsetType | None = UNSET
    data_mode: int | UnsetType | None = UNSET
    online_rate: int | UnsetType | None = UNSET
    offline_rate: int | UnsetType | None = UNSET
    set_port: int | UnsetType | None = UNSET
    set_baud: int | UnsetType | None = UNSET
    profile: str | UnsetType | None = UNSET
    read_as: str | UnsetType | None = UNSET


class DeviceDetails(Struct, frozen=True, kw_only=True):
    """All that is known of a device but what it uploads.

    Texts and numbers are as the device sent them at its last login (protocol section 4.1); None: never said.

    :ivar row: as in the list.
    :ivar has_password: its password is known, from its first login or from enrolment.
    :ivar wrong_passwords: how many of its logins came with another one, since the daemon's start.
    :ivar wgs84_longitude: in degrees, as is latitude; None: not known.
    :ivar para_command: the polling plan it was given at its last login.
    :ivar byte_order: of registers in its change uploads; None: not decided, or its profile says it.
    :ivar hypotheses: how it is to be read, as far as that is found out or set.
    :ivar last_login_address: the host of its latest password login; None: not known.
    :ivar sessions: the hosts that its sessions come from, oldest first.
    :ivar commands: what can be sent to it by name.
    :ivar withheld: commands of its profile that are not offered, and why, by name.
    """

    row: DeviceRow
    registered_at: int
    has_password: bool
    wrong_passwords: int
    module_port: int | None
    module_baud: int | None
    longitude: str | None
    latitude: str | None
    altitude: str | None
    gpsen: int | None
    wgs84_longitude: float | None
    wgs84_latitude: float | None
    para_command: str
    byte_order: str | None
    hypotheses: list[HypothesisNow]
    settings: Settings
    last_login_address: str | None
    sessions: list[str]
    commands: list[CommandInfo]
    withheld: dict[str, str]


class RawRun(Struct, frozen=True, kw_only=True):
    """Neighbouring coils (0 or 1) or registers, raw; None: not certain. ``function`` reads them in Modbus."""

    function: int
    address: int
    values: list[int | None]


class Blocked(Struct, frozen=True):
    """A reason against sending now: ``code`` of the refusal for programs, ``detail`` for people."""

    code: str
    detail: str


class LiveNow(Struct, frozen=True, kw_only=True):
    """The live record of a device, decoded; ``raw``: all that is known of its controller, where that was requested.

    ``blocked``: why no command but stop can be sent; None: nothing speaks against sending, as far as is known.
    ``stop_blocked``: why stop cannot be sent, either; None: it can. ``lock``: the maintenance lock; None: not locked.
    """

    online: bool
    blocked: Blocked | None
    stop_blocked: Blocked | None
    lock: Lock | None
    view: View
    raw: list[RawRun] | None = None


class ReadingRow(Struct, frozen=True, kw_only=True):
    """A kept upload; see docs/history.md. ``points`` by name; None: no data, not known or not certain.

    :ivar source: by which right the device said itself when it was, and from where; empty: ``at`` is when it came.
    """

    number: int
    at: int
    reason: Reason
    source: str
    suppressed: int
    points: dict[str, float | None]


class Ended(Struct, frozen=True, kw_only=True):
    """The end of a command to a device.

    :ivar number: of the command, in the audit.
    :ivar outcome: ``done``, ``refused``, ``timeout``, ``lost`` or ``not sent``. After ``timeout`` and ``lost`` no one
        knows whether the device has done it.
    :ivar reply: what the device answered, or why nothing was sent.
    :ivar seconds: from when it was accepted to its end.
    :ivar recorded: whether that is durable.
    """

    number: int
    uid: str
    outcome: str
    reply: str
    seconds: float
    recorded: bool = True
