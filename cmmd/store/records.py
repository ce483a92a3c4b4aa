"""Records of the store, one struct per table. Times are milliseconds since 1970, UTC.

All but devices are numbered by the daemon before they are written: to write one twice is to write it once.
"""

from typing import Literal

from msgspec import Struct

__all__ = [
    "Alarm",
    "ByteOrder",
    "Command",
    "Cursor",
    "Detail",
    "Device",
    "Event",
    "LastUpload",
    "Numbers",
    "Outcome",
    "PointColumn",
    "ProfileVersion",
    "Query",
    "Reading",
    "Reason",
    "Redecoded",
    "Row",
]

ByteOrder = Literal["little", "big"]
"""How a register is written in a change upload (protocol section 4.5)."""

Reason = Literal["first", "change", "interval", "historic"]
"""Why an upload was kept: the first one after a start; a signal or state changed; it was time; it came as history."""

Outcome = Literal["done", "refused", "timeout", "lost", "not sent"]
"""How a command ended: the device did it; it, or its controller, did not; sent, and no answer came in time; sent, and
the connection or we ended before an answer came; never sent. Of the third and fourth it is unknown whether it was done.
"""

Detail = str | int | float | bool | None


class Device(Struct, frozen=True, kw_only=True):
    """A CMM module that has registered or was enrolled.

    ``number`` is its registration number (the paper's ``ymid``), given by the store; 0 before. ``password_hash`` is
    None until the first login. Texts and numbers are as the device sent them at its last login (protocol section 4.1);
    None: never said. ``wgs84_*``: its coordinates in degrees, converted where it said them as BD-09. ``para_command``:
    the polling plan it was given at its last login. ``history_interval`` (seconds), ``data_mode``, ``online_rate``,
    ``offline_rate`` (milliseconds), ``set_port``, ``set_baud`` (codes of section 4.1) and ``profile`` (its name) are
    the owner's; None: as the configuration, or the device, says. ``history``: whether it can say when an upload was,
    the owner's, too. ``byte_order``: of the registers in its change
    uploads, once the evidence has decided it; None: not decided, or its profile says it. ``last_login_address``: the
    host of its latest password login; None: not known. ``lock_reason``, ``locked_by``, ``locked_at``: the maintenance
    lock; None: it is not locked. ``input_reports``: what was last said of its own four inputs, when and by whom, as
    JSON, see fleet.devices.inputs; empty: nothing. ``evidence``: how its hypotheses were decided, as JSON, see
    controllers.evidence.memory; empty: none was. ``read_as``: what the owner has decided about them, such as
    ``byte_order=big, scale=tenths``; None: nothing. ``oldest_undecided_at``: when the oldest reading
    was kept that has undecided values; None: there is none.
    """

    number: int = 0
    hostid: str
    hostname: str
    password_hash: str | None
    moduletype: str
    module_port: int | None = None
    module_baud: int | None = None
    longitude: str | None = None
    latitude: str | None = None
    altitude: str | None = None
    gpsen: int | None = None
    wgs84_longitude: float | None = None
    wgs84_latitude: float | None = None
    para_command: str = ""
    byte_order: ByteOrder | None = None
    history_interval: float | None = None
    data_mode: int | None = None
    online_rate: int | None = None
    offline_rate: int | None = None
    set_port: int | None = None
    set_baud: int | None = None
    profile: str | None = None
    enabled: bool = True
    history: bool = False
    registered_at: int
    last_login_at: int | None = None
    last_login_address: str | None = None
    lock_reason: str | None = None
    locked_by: str | None = None
    locked_at: int | None = None
    input_reports: str = ""
    evidence: str = ""
    read_as: str | None = None
    oldest_undecided_at: int | None = None


class PointColumn(Struct, frozen=True, kw_only=True):
    """The meaning of one place of ``Reading.points``. ``decimals``: how many of its value count."""

    name: str
    title: str
    unit: str
    decimals: int


class ProfileVersion(Struct, frozen=True, kw_only=True):
    """The points of a profile as they once were, by the ``number`` that readings have.

    ``fingerprint`` tells two versions of one profile apart.
    """

    number: int
    name: str
    fingerprint: str
    points: tuple[PointColumn, ...]


class Reading(Struct, frozen=True, kw_only=True, gc=False):
    """An upload that was kept.

    ``image``: all that was known of the controller then, as RegisterImage.to_bytes. ``undecided``: registers from
    change uploads whose byte order was not decided, read little-endian, in the same form; they are newer than the
    same addresses of ``image``; empty: none. ``inputs``: the device's own four inputs, see fleet.inputs. ``points``:
    engineering values in the order of the profile version ``profile``, kept in single precision; None: no data, not
    known or not certain. ``suppressed``: uploads since the last kept one that were left out because too many changed.
    ``source``: by which right the device said itself when it was, and from where, such as ``setting 192.0.2.7``; empty:
    ``at`` is when it came. Of those with a source there is one of a device and time with values, and one without.
    """

    number: int
    hostid: str
    at: int
    reason: Reason
    suppressed: int = 0
    profile: int
    inputs: int = 0
    image: bytes
    undecided: bytes = b""
    points: tuple[float | None, ...]
    source: str = ""


class Redecoded(Struct, frozen=True, kw_only=True, gc=False):
    """The points of a reading that is kept, decoded anew, in the order of the profile version ``profile``."""

    number: int
    at: int
    profile: int
    points: tuple[float | None, ...]


class LastUpload(Struct, frozen=True, kw_only=True, gc=False):
    """The newest upload of a device, so that a restart forgets nothing. ``upload``: its running number.

    ``unit``: the Modbus unit that answered last. ``kept_at``: when an upload was last kept; None: never. ``counters``:
    as they were last believed, see controllers.evidence.counters. The others are as in Reading.
    """

    hostid: str
    upload: int
    at: int
    unit: int | None
    kept_at: int | None
    inputs: int = 0
    image: bytes
    undecided: bytes = b""
    counters: bytes = b""


class Alarm(Struct, frozen=True, kw_only=True):
    """A signal with a severity that was active. Open until ``cleared_at``. ``title`` is the signal's."""

    number: int
    hostid: str
    signal: str
    title: str
    severity: Literal["alarm", "warning", "shutdown"]
    raised_at: int
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    cleared_at: int | None = None


class Event(Struct, frozen=True, kw_only=True):
    """A dated fact; docs/events.md says which there are and what their details are."""

    number: int
    at: int
    hostid: str
    kind: str
    details: dict[str, Detail]


class Command(Struct, frozen=True, kw_only=True):
    """A command to a device, from its acceptance on. ``outcome`` None: it has not ended.

    ``name``: of a command of its profile; None: frames as they were given, a port, a reset. ``request``: frames in hex
    with CRC, joined by ``;``; or ``modulePort=2,moduleBaud=0``; or empty. ``requester`` and ``door``: who asked, and
    which way. ``uid``: six digits. ``ended_at``: when its outcome was settled; None as long as ``outcome`` is None.
    ``reply``: what the device answered, printable, at most 1000 characters. ``confirmed``: whether later uploads showed
    it; None: not settled, or its profile cannot tell. ``overridden``: the code of the refusal that an administrator
    overrode for this command; None: none. ``address``: the host of the session that it was sent to; None: not sent.
    """

    number: int
    hostid: str
    kind: Literal["modbus", "port", "reset"]
    name: str | None = None
    request: str
    requester: str
    door: str
    uid: str
    accepted_at: int
    sent_at: int | None = None
    ended_at: int | None = None
    outcome: Outcome | None = None
    reply: str | None = None
    confirmed: bool | None = None
    confirmed_at: int | None = None
    overridden: str | None = None
    address: str | None = None


class Numbers(Struct, frozen=True, kw_only=True):
    """The highest numbers that have been given so far, or are reserved: none up to them is given again."""

    reading: int = 0
    alarm: int = 0
    event: int = 0
    command: int = 0


Row = Device | Reading | ProfileVersion | LastUpload | Alarm | Event | Command | Numbers
"""What is written in batches."""


class Cursor(Struct, frozen=True, order=True):
    """The place of a record in the order of time: pages continue behind it, whatever was added in the meantime."""

    at: int
    number: int


class Query(Struct, frozen=True, kw_only=True):
    """A selection of records: of one device or all, ``since <= at < until``, ``limit`` of them behind ``after``.

    ``newest_first``: the order is from the newest to the oldest, and ``after`` continues that way.
    """

    hostid: str | None = None
    since: int | None = None
    until: int | None = None
    after: Cursor | None = None
    limit: int = 100
    newest_first: bool = False
