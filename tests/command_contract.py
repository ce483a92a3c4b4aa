"""The contract of commands: what becomes of each command at each door, whatever is in its way.

``CASES`` is the contract, as data: a new door passes it by a :class:`tests.doors.Door` of its own. The table of
docs/safety.md is made of it by ``python -m tests.command_contract``.
"""

import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from twisted.internet.defer import Deferred, fail

from cmmd.fleet.commands.interlocks import FRESH_S
from cmmd.fleet.commands.queue import Requester
from cmmd.fleet.commands.requests import Named, checked_frames
from cmmd.fleet.commands.stop import STOP_WAITS_S
from cmmd.fleet.fleet import CommandTerms
from cmmd.fleet.history.journal import LONGEST_RETRY_S
from cmmd.fleet.roles import Role
from cmmd.fleet.service import administration
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Command, Query
from cmmd.wire.messages import Login, encode
from tests.doors import Door
from tests.support import REPOSITORY
from tests.test_gateway_command_contract import CASES as GATEWAY_CASES
from tests.test_gateway_command_contract import CONDITIONS as GATEWAY_CONDITIONS
from tests.uploads import AT_REST, STANDBY, full_upload
from tests.world import HOSTID, World, login_params

__all__ = [
    "BY_ROLE",
    "CASES",
    "COMMANDS",
    "CONDITIONS",
    "HOME",
    "SORTS",
    "Case",
    "Door",
    "Play",
    "Scene",
    "Sort",
    "check",
    "table",
]

HOME, ELSEWHERE = "192.0.2.7", "198.51.100.9"
BOB = Requester("bob", "amp", "admin")
SLOW_S = 8.0
MOST_SECONDS = 200.0

Sort = Literal["stop", "command", "toggle", "port", "reset"]
SORTS: tuple[Sort, ...] = ("stop", "command", "toggle", "port", "reset")

COMMANDS: dict[str, Sort] = {
    "stop": "stop",
    "start": "command",
    "test": "command",
    "manual": "command",
    "auto": "command",
    "generator_breaker_toggle": "toggle",
    "mains_breaker_toggle": "toggle",
    "write": "command",
    "port": "port",
    "reset": "reset",
}
"""What an operator can ask, by name, and as what it is judged. ``write``: raw Modbus frames; ``port``: the wiring."""

RAW = checked_frames("000600300005")


class Scene:
    """A daemon's fleet with one device, both in memory; all time is the scene's clock's.

    :param store: where records go. :param terms: how commands are sent. :param moduletype: the device's model.
    :ivar devices: the long connections of the device, or of whoever claims to be it.
    """

    def __init__(
        self,
        *,
        store: MemoryStore | None = None,
        terms: CommandTerms | None = None,
        moduletype: str = "HGM6120N",
    ) -> None:
        self.world = World(store=store, commands=terms)
        self.clock, self.fleet = self.world.clock, self.world.fleet
        self.moduletype = moduletype
        self.devices: list[Device] = []

    def login(self, peer: str) -> None:
        """Have the device show its password on a short connection."""
        connection = self.world.connect(peer=peer)
        connection.deliver(encode(Login(params=login_params(moduletype=self.moduletype))))
        connection.turns()
        self.world.write_batch()
        connection.turns()
        assert b'"register":1' in connection.segments[0], connection.segments
        connection.hang_up()

    def attach(self, peer: str) -> "Device":
        """Have a long connection come."""
        self.devices.append(Device(self, peer))
        return self.devices[-1]

    def comes(self, peer: str = HOME) -> "Device":
        """Have the device log in, attach and upload."""
        self.login(peer)
        device = self.attach(peer)
        device.upload()
        return device

    def step(self) -> None:
        """Let the time pass until something may happen, one second at most."""
        calls = [call.getTime() for call in self.clock.getDelayedCalls()]
        next_s = min(calls, default=self.clock.seconds() + 1.0) - self.clock.seconds()
        self.clock.advance(min(max(next_s, 0.0), 1.0))
        for device in self.devices:
            device.step()

    def run(self, until: Callable[[], bool], seconds: float = MOST_SECONDS) -> None:
        """Let the time pass until something holds, or for so long."""
        end = self.clock.seconds() + seconds
        while not until() and self.clock.seconds() < end:
            self.step()

    def pass_time(self, seconds: float) -> None:
        """Let the time pass."""
        self.run(lambda: False, seconds)

    def ask_before(self, name: str, count: int = 1) -> None:
        """Have another operator ask first."""
        for _ in range(count):
            Deferred.fromCoroutine(self.fleet.dispatch.submit(HOSTID, Named(name=name, timeout=300.0), BOB)).addErrback(
                lambda _: None
            )
            self.pass_time(1.0)

    def audit(self) -> list[Command]:
        """The commands that are recorded."""
        self.world.write_batch()
        found: list[list[Command]] = []
        Deferred.fromCoroutine(self.fleet.dispatch.audit.page(Query(limit=1000))).addCallback(found.append)
        return found[0]


class Device:
    """A long connection of a module. It carries out what it is sent after ``delay_s`` seconds; None: it never answers.

    :ivar got: when it was sent what: the frames, ``port`` or ``reset``.
    """

    def __init__(self, scene: Scene, peer: str) -> None:
        self._scene = scene
        self.delay_s: float | None = 0.5
        self.got: list[tuple[float, str]] = []
        self._seen = 0
        self.transport = scene.world.connect(peer=peer)
        self.say(method="LongCon")

    def say(self, **message: object) -> None:
        """Have it send a message."""
        self.transport.deliver(json.dumps({"hostid": HOSTID, **message}).encode())
        self._scene.world.write_batch()
        self.transport.turns()
        self._seen = len(self.transport.segments)

    def upload(self) -> None:
        """Have it upload the values of a genset at rest."""
        self.say(method="reqdata", params=full_upload(STANDBY, set(AT_REST)).params)

    def step(self) -> None:
        """Look at what it was sent."""
        self.transport.turns()
        segments = self.transport.segments
        while self._seen < len(segments):
            message = json.loads(segments[self._seen])
            self._seen += 1
            if message["method"] == "writeConfig" and "uid" in message:
                self.got.append((self._scene.clock.seconds(), message.get("result", "port")))
            elif message["method"] == "reset":
                self.got.append((self._scene.clock.seconds(), "reset"))
            else:
                continue
            if self.delay_s is not None:
                self._scene.clock.callLater(self.delay_s, self._answer, message)

    def _answer(self, order: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"hostid": HOSTID, "method": order["method"]}
        if "result" in order:
            answer["params"] = ";".join(f"{frame},1" for frame in order["result"].split(";"))
        answer |= {key: order[key] for key in ("uid", "modulePort", "moduleBaud") if key in order}
        self.transport.deliver(json.dumps(answer).encode())


# --- what may be in the way ------------------------------------------------------------------------------------------


class FullDisk(MemoryStore):
    """A store that takes nothing any more from when the disk is full."""

    full = False

    def write(self, rows: Any) -> Deferred[None]:
        """Refuse."""
        return fail(StoreUnavailable("disk full")) if self.full else super().write(rows)


class Hanging(MemoryStore):
    """A store that never answers from when its database hangs."""

    hangs = False

    def write(self, rows: Any) -> Deferred[None]:
        """Wait for ever."""
        return Deferred() if self.hangs else super().write(rows)


def _nothing(scene: Scene) -> None:
    scene.comes()


def _slow(scene: Scene) -> None:
    scene.comes().delay_s = SLOW_S


def _silent(scene: Scene) -> None:
    scene.comes().delay_s = None


def _stranger(scene: Scene) -> None:
    scene.comes()
    scene.attach(ELSEWHERE)


def _moved(scene: Scene) -> None:
    scene.comes()
    scene.comes(ELSEWHERE)


def _locked(scene: Scene) -> None:
    scene.comes()
    device = scene.fleet.registry.device(HOSTID)
    assert device is not None
    locking = Deferred.fromCoroutine(administration.lock(scene.fleet, device, "belt off", BOB))
    assert locking.called


def _locked_before_a_restart(scene: Scene) -> None:
    _locked(scene)
    scene.world.write_batch()
    again = Scene(store=scene.world.store)  # type: ignore[arg-type]
    again.clock.advance(scene.clock.seconds() - again.clock.seconds())
    scene.__dict__.update(again.__dict__)
    scene.comes()


def _inhibited(scene: Scene) -> None:
    scene.comes().say(method="reqdatachange", params={}, InhbitRemote=1)


def _inhibited_and_not_repeated(scene: Scene) -> None:
    _inhibited(scene)
    scene.devices[0].transport.hang_up()
    scene.pass_time(3600.0)
    scene.comes()


def _inhibited_by_a_stranger(scene: Scene) -> None:
    scene.comes()
    stranger = scene.attach(ELSEWHERE)
    stranger.say(method="reqdatachange", params={}, InhbitRemote=1)
    stranger.transport.hang_up()


def _panel_locked(scene: Scene) -> None:
    device = scene.comes()
    device.say(method="reqdata", params=full_upload(STANDBY, {*AT_REST, 4}).params)


def _old_values(scene: Scene) -> None:
    scene.comes()
    scene.pass_time(FRESH_S + 1)


def _no_values(scene: Scene) -> None:
    scene.login(HOME)
    scene.attach(HOME)


def _queue_full(scene: Scene) -> None:
    scene.comes().delay_s = 20.0
    scene.ask_before("auto", 6)


def _one_is_never_answered(scene: Scene) -> None:
    device = scene.comes()
    device.delay_s = None
    scene.ask_before("auto")
    device.delay_s = 0.5


def _stop_comes_first(scene: Scene) -> None:
    _one_is_never_answered(scene)
    scene.clock.callLater(2.0, scene.ask_before, "stop")


def _stood_still(scene: Scene) -> None:
    scene.comes()


def _full_disk(scene: Scene) -> None:
    scene.comes()
    FullDisk.full = True


def _hangs(scene: Scene) -> None:
    scene.comes()
    Hanging.hangs = True


def _offline(scene: Scene) -> None:
    scene.comes().transport.hang_up()


def _disabled(scene: Scene) -> None:
    scene.comes()
    done = Deferred.fromCoroutine(scene.fleet.registry.set(HOSTID, "bob", enabled=False))
    assert done.called


def _nobody(_: Scene) -> None:
    pass


class Condition(NamedTuple):
    """Something in the way of a command.

    :ivar text: for the documentation. :ivar set_up: brings it about. :ivar expected: by sort, in the order of
        :data:`SORTS`: the outcome, or the code of the refusal. :ivar override: what an administrator overrides.
    :ivar scene: what the scene is made with.
    """

    text: str
    set_up: Callable[[Scene], None]
    expected: tuple[str, str, str, str, str]
    override: str | None = None
    scene: Callable[[], dict[str, Any]] = dict


def _all(outcome: str) -> tuple[str, str, str, str, str]:
    return (outcome,) * 5


def _but_stop(code: str, *, reset: str | None = None) -> tuple[str, str, str, str, str]:
    return ("done", code, code, code, code if reset is None else reset)


CONDITIONS: dict[str, Condition] = {
    "nothing": Condition("nothing is in the way", _nothing, _all("done")),
    "slow": Condition(f"the device takes {SLOW_S:.0f} s to answer", _slow, _all("done")),
    "silent": Condition("the device never answers", _silent, _all("timeout")),
    "stranger": Condition(
        "a session from another address than the latest password login is open",
        _stranger,
        _but_stop("ambiguous_session"),
    ),
    "moved": Condition("the device has logged in anew, from another address", _moved, _all("done")),
    "locked": Condition("locked for maintenance", _locked, _but_stop("locked", reset="done")),
    "locked, restarted": Condition(
        "the same, and cmmd was restarted and the device has logged in since",
        _locked_before_a_restart,
        _but_stop("locked", reset="done"),
    ),
    "inhibited": Condition(
        "the device's input says: remote control inhibited", _inhibited, _but_stop("remote_inhibited")
    ),
    "inhibited long ago": Condition(
        "the same an hour and a login ago, not repeated since",
        _inhibited_and_not_repeated,
        _but_stop("remote_inhibited"),
    ),
    "inhibited by a stranger": Condition(
        "the same, said by a session from elsewhere that has gone",
        _inhibited_by_a_stranger,
        _but_stop("remote_inhibited"),
    ),
    "inhibit overridden": Condition(
        "inhibited, and an administrator overrides that for this command", _inhibited, _all("done"), "remote_inhibited"
    ),
    "panel locked": Condition("the controller's panel locks remote control", _panel_locked, _but_stop("remote_locked")),
    "old values": Condition(
        f"the newest upload is older than {FRESH_S:.0f} s", _old_values, ("done", "done", "stale", "done", "done")
    ),
    "no values": Condition("nothing was uploaded yet", _no_values, ("done", "done", "stale", "done", "done")),
    "queue full": Condition("as many commands wait as may wait", _queue_full, _but_stop("queue_full")),
    "behind silence": Condition(
        "a command is in flight that is not answered for longer than a command may wait",
        _one_is_never_answered,
        _but_stop("not sent"),
    ),
    "overtaken": Condition(
        "the same, and a stop is asked while this one waits", _stop_comes_first, _but_stop("not sent")
    ),
    "stood still": Condition(
        "cmmd stood still until just now",
        _stood_still,
        _but_stop("expired"),
        scene=lambda: {"terms": CommandTerms(stood_still=lambda: 7.0)},
    ),
    "disk full": Condition(
        "its record cannot be written", _full_disk, _but_stop("not_audited"), scene=lambda: {"store": FullDisk()}
    ),
    "database hangs": Condition(
        "the store does not answer", _hangs, _but_stop("not_audited"), scene=lambda: {"store": Hanging()}
    ),
    "offline": Condition("the device has no live session", _offline, _all("device_offline")),
    "disabled": Condition("the device is disabled", _disabled, _all("device_disabled")),
    "commands off": Condition(
        "`[commands] enabled = false`",
        _nothing,
        _all("commands_disabled"),
        scene=lambda: {"terms": CommandTerms(enabled=False)},
    ),
    "raw off": Condition(
        "`[commands] raw = false`",
        _nothing,
        _all("done"),
        scene=lambda: {"terms": CommandTerms(raw=False)},
    ),
    "unknown device": Condition("no such device", _nobody, _all("unknown_device")),
    "unverified model": Condition(
        "no commands are verified for its model (raw writes are still the engineer's own)",
        _nothing,
        ("unknown_command", "unknown_command", "unknown_command", "done", "done"),
        scene=lambda: {"moduletype": "HGM6110N"},
    ),
}


class Case(NamedTuple):
    """One cell of the contract."""

    command: str
    condition: str
    expected: str


_OF_RAW = {"unverified model": "done", "raw off": "raw_disabled"}
"""What becomes of a raw write where that is another thing than of a start."""


def _expected(command: str, sort: Sort, condition: str) -> str:
    if command == "write" and condition in _OF_RAW:
        return _OF_RAW[condition]
    return CONDITIONS[condition].expected[SORTS.index(sort)]


CASES: list[Case] = [
    Case(command, condition, _expected(command, sort, condition))
    for condition in CONDITIONS
    for command, sort in COMMANDS.items()
]


class Play:
    """One case at one door: what is in the way is there, the command has been asked.

    :ivar scene: its time has to pass until the command is :attr:`answered`, then it is to be :meth:`verified`.
    """

    def __init__(self, case: Case, door_of: Callable[[Scene], Door]) -> None:
        FullDisk.full = Hanging.hangs = False
        self._case = case
        self._condition = CONDITIONS[case.condition]
        self.scene = Scene(**self._condition.scene())
        self._condition.set_up(self.scene)
        self._before = {device: len(device.got) for device in self.scene.devices}
        self._earlier = {one.number for one in self.scene.audit()}
        self._asked_at = self.scene.clock.seconds()
        self._door = door_of(self.scene)
        self._asked = self._door.begin(case.command, override=self._condition.override, frames=RAW)

    @property
    def answered(self) -> bool:
        """Whether the caller has been told."""
        return self._asked.told is not None

    def verified(self) -> None:
        """Hold everything that the contract says of the case.

        :raises AssertionError: it is otherwise.
        """
        case, scene = self._case, self.scene
        assert self._asked.told == case.expected, f"{case}: {self._asked.told}"
        scene.pass_time(1.0)
        was_sent = case.expected in ("done", "timeout", "refused")
        ours = [at - self._asked_at for at, what in self._got() if what == _on_the_wire(case.command)]
        assert len(ours) == was_sent, f"{case}: sent {self._got()}"
        if case.command == "stop" and was_sent:
            assert ours[0] <= STOP_WAITS_S + 1.0, f"{case}: after {ours[0]:.1f} s"
        if was_sent and self._condition.set_up is _stranger:
            assert len(scene.devices[0].got) == 1, f"{case}: it went to the stranger"
        FullDisk.full = Hanging.hangs = False
        if self._condition.set_up is not _hangs:
            scene.pass_time(LONGEST_RETRY_S if self._condition.set_up is _full_disk else 2.0)
            self._verify_audit()

    def _got(self) -> list[tuple[float, str]]:
        return [one for device in self.scene.devices for one in device.got[self._before.get(device, 0) :]]

    def _verify_audit(self) -> None:
        """Hold that everything that may have been sent is recorded with who asked, and how it ended."""
        case = self._case
        joined = case == Case("stop", "overtaken", "done")  # a stop that is asked twice before it leaves is one stop
        records = [one for one in self.scene.audit() if one.number not in self._earlier]
        records = [one for one in records if joined or one.requester != BOB.requester]
        if case.expected not in ("done", "timeout", "not sent"):
            assert all(one.outcome == "not sent" for one in records), records
            return
        (record,) = records
        assert (record.outcome, joined or record.door) == (case.expected, joined or self._door.name), record
        assert (record.sent_at is None) == (case.expected == "not sent"), record
        assert (record.address is None) == (record.sent_at is None), record
        assert record.overridden == (None if case.command == "stop" else self._condition.override), record


def check(case: Case, door_of: Callable[[Scene], Door]) -> None:
    """Play one case at a door in memory.

    :raises AssertionError: something is otherwise than the contract says.
    """
    play = Play(case, door_of)
    play.scene.run(lambda: play.answered)
    play.verified()


def _on_the_wire(command: str) -> str:
    frames = {
        "start": "00050000FF008DEB",
        "stop": "00050001FF00DC2B",
        "test": "00050002FF002C2B",
        "auto": "00050003FF007DEB",
        "manual": "00050004FF00CC2A",
        "generator_breaker_toggle": "00050005FF009DEA",
        "mains_breaker_toggle": "00050006FF006DEA",
        "write": RAW,
    }
    return frames.get(command, command)


# --- the documentation -----------------------------------------------------------------------------------------------

_TITLES: dict[str, str] = {
    "stop": "stop",
    "start": "start, test, manual, auto",
    "write": "raw write",
    "generator_breaker_toggle": "breaker toggles",
    "port": "port and speed",
    "reset": "reset of the module",
}
"""The columns of the tables, each with one command that stands for all of them."""

BY_ROLE: dict[Role, dict[str, str]] = {
    "viewer": dict.fromkeys(_TITLES, "forbidden"),
    "operator": {**dict.fromkeys(_TITLES, "done"), "write": "engineer_only"},
    "engineer": dict.fromkeys(_TITLES, "done"),
    "admin": dict.fromkeys(_TITLES, "done"),
}
"""What becomes of a command where nothing but the caller's role is in the way."""

SAFETY = REPOSITORY / "docs" / "safety.md"
_MADE, _UNTIL = "<!-- {}made by python -m tests.command_contract -->\n", "<!-- {}until here -->\n"
_GATEWAY_TITLES = {"stop": "stop", "start": "any other write", "port": "port and speed", "reset": "reset"}


def _rows(titles: list[str], rows: list[list[str]]) -> str:
    head = ["in the way", *titles]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table() -> str:
    """Make the table of cmmd's doors."""
    rows = [
        [one.text, *(_cell(_expected(command, COMMANDS[command], name)) for command in _TITLES)]
        for name, one in CONDITIONS.items()
    ]
    return _rows([*_TITLES.values()], rows)


def roles_table() -> str:
    """Make the table of the callers' roles."""
    rows = [[f"role {role}", *(_cell(expected[command]) for command in _TITLES)] for role, expected in BY_ROLE.items()]
    return _rows([*_TITLES.values()], rows)


def _cell(expected: str) -> str:
    return expected if expected == "done" else f"`{expected}`"


def gateway_table() -> str:
    """Make the table of a gateway's order path."""
    cases = {(one.condition, one.order): one for one in GATEWAY_CASES}
    rows = [
        [
            condition,
            *(f"{one.expected}; answer: {one.told}" for one in (cases[condition, order] for order in _GATEWAY_TITLES)),
        ]
        for condition in GATEWAY_CONDITIONS
    ]
    return _rows([*_GATEWAY_TITLES.values()], rows)


def written(text: str) -> str:
    """Put the tables into the text of docs/safety.md."""
    for mark, made in (("roles: ", roles_table()), ("", table()), ("gateway: ", gateway_table())):
        before, begin, rest = text.partition(_MADE.format(mark))
        _, end, after = rest.partition(_UNTIL.format(mark))
        text = before + begin + made + end + after
    return text


if __name__ == "__main__":
    SAFETY.write_text(written(SAFETY.read_text(encoding="utf-8")), encoding="utf-8")
