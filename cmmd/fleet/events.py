"""Dated facts about devices: which kinds there are, and who is notified. docs/events.md is the same for users."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from enum import StrEnum
from itertools import count

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.fleet.counters.log_throttle import MOST_REMEMBERED, Allowance, LogLimit
from cmmd.store.records import Detail, Event

__all__ = ["CATALOGUE", "Entry", "EventLog", "Events", "Kind"]


log = Logger()

BURST, REFILL_S = 20, 10.0
"""Events of one limited kind about one device, or from one address."""

OVERALL_BURST, OVERALL_REFILL_S = 10_000, 1.0
"""Events of one limited kind about all devices: a whole fleet at once, and never so many that they fill a disk."""

CROWDED_BELOW = 0.5
"""The part of what all devices can have below which those have to wait that were not quiet."""

SUPPRESSED = "suppressed"


class Kind(StrEnum):
    """The kinds of events."""

    DEVICE_REGISTERED = "device_registered"
    DEVICE_FORGOTTEN = "device_forgotten"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a kind, not a password
    ENROLMENT_WAITING = "enrolment_waiting"
    ENROLMENT_CHANGED = "enrolment_changed"
    ONLINE = "online"
    OFFLINE = "offline"
    LOGIN_REFUSED = "login_refused"
    ALARM_RAISED = "alarm_raised"
    ALARM_ACKNOWLEDGED = "alarm_acknowledged"
    ALARM_CLEARED = "alarm_cleared"
    ALARM_RENAMED = "alarm_renamed"
    MODE_CHANGED = "mode_changed"
    ENGINE_STARTED = "engine_started"
    ENGINE_STOPPED = "engine_stopped"
    MAINS_LOST = "mains_lost"
    MAINS_RETURNED = "mains_returned"
    BREAKER_CHANGED = "breaker_changed"
    COMMANDED = "commanded"
    STOP_JOINED = "stop_joined"
    CLOCK_ASKED = "clock_asked"
    PROFILE_CHANGED = "profile_changed"
    READING_DECIDED = "reading_decided"
    READING_REOPENED = "reading_reopened"
    COUNTER_REBASED = "counter_rebased"
    CONTROLLER_REPLACED = "controller_replaced"
    SESSION_TAKEN_OVER = "session_taken_over"
    SESSION_REFUSED = "session_refused"
    HISTORY_REFUSED = "history_refused"
    DEVICE_LOCKED = "device_locked"
    DEVICE_UNLOCKED = "device_unlocked"
    INPUT_CLEARED = "input_cleared"
    SETTING_CHANGED = "setting_changed"
    SECURITY = "security"
    SERVER_STARTED = "server_started"
    SERVER_STOPPED = "server_stopped"


class Entry(Struct, frozen=True):
    """The properties of one kind of event.

    :ivar means: what has happened.
    :ivar details: the keys of its details, all of them always.
    :ivar limited: a device or a stranger can cause it without end, so that not each is emitted; ``suppressed``, one
        more of its details, then says how many were left out before.
    """

    means: str
    details: tuple[str, ...] = ()
    limited: bool = False

    @property
    def keys(self) -> frozenset[str]:
        """The keys of its details, with ``suppressed`` where it has it."""
        return frozenset((*self.details, SUPPRESSED) if self.limited else self.details)


_OF_AN_ALARM = ("alarm", "signal", "title", "severity")

CATALOGUE: dict[Kind, Entry] = {
    Kind.DEVICE_REGISTERED: Entry("a device's first login", ("number", "hostname", "moduletype", "address")),
    Kind.DEVICE_FORGOTTEN: Entry("an administrator has forgotten a device", ("number", "by", "door")),
    Kind.PASSWORD_RESET: Entry("an administrator has reset the password of a device", ("by", "door")),
    Kind.ENROLMENT_WAITING: Entry(
        "an unknown device waits for approval", ("hostname", "moduletype", "address"), limited=True
    ),
    Kind.ENROLMENT_CHANGED: Entry("the enrolment policy was changed", ("before", "after", "by", "door")),
    Kind.ONLINE: Entry("a device that had no live session has one", ("address",), limited=True),
    Kind.OFFLINE: Entry(
        "a device's last live session has ended, and none came within the grace", ("since",), limited=True
    ),
    Kind.LOGIN_REFUSED: Entry("a login was not taken", ("address", "retcode", "reason"), limited=True),
    Kind.ALARM_RAISED: Entry("a signal with a severity is active", _OF_AN_ALARM),
    Kind.ALARM_ACKNOWLEDGED: Entry("acknowledged by a person", (*_OF_AN_ALARM, "by")),
    Kind.ALARM_CLEARED: Entry("the signal is not active any more", (*_OF_AN_ALARM, "why")),
    Kind.ALARM_RENAMED: Entry(
        "it is known now what the coil of an active alarm is called, or not known any more", (*_OF_AN_ALARM, "before")
    ),
    Kind.MODE_CHANGED: Entry("the controller is in another mode", ("before", "after"), limited=True),
    Kind.ENGINE_STARTED: Entry("the engine is running", ("state",), limited=True),
    Kind.ENGINE_STOPPED: Entry("the engine is at rest", ("state",), limited=True),
    Kind.MAINS_LOST: Entry("the mains have failed", limited=True),
    Kind.MAINS_RETURNED: Entry("the mains are normal again", limited=True),
    Kind.BREAKER_CHANGED: Entry("a breaker has opened or closed", ("breaker", "closed"), limited=True),
    Kind.COMMANDED: Entry("a command has ended", ("command", "name", "requester", "outcome")),
    Kind.STOP_JOINED: Entry(
        "a stop was asked that another caller had asked before, and had not left yet",
        ("command", "requester", "door"),
        limited=True,
    ),
    Kind.CLOCK_ASKED: Entry("a device has requested the time", limited=True),
    Kind.PROFILE_CHANGED: Entry("a device has another controller profile", ("before", "after"), limited=True),
    Kind.READING_DECIDED: Entry(
        "it is known now how a device is to be read", ("hypothesis", "choice", "because"), limited=True
    ),
    Kind.READING_REOPENED: Entry(
        "what was found out about a device was contradicted; choice is what it was",
        ("hypothesis", "choice", "because"),
        limited=True,
    ),
    Kind.COUNTER_REBASED: Entry(
        "a counter fell, or rose faster than time, and stayed so; before and after are its two registers in hex",
        ("point", "before", "after"),
        limited=True,
    ),
    Kind.CONTROLLER_REPLACED: Entry(
        "several counters, or the versions, say that it is another controller", limited=True
    ),
    Kind.SESSION_TAKEN_OVER: Entry(
        "a session came, or uploads, from another address than the latest password login",
        ("address", "login_address"),
        limited=True,
    ),
    Kind.SESSION_REFUSED: Entry(
        "a session was refused that came from elsewhere than the latest password login (bind_session)",
        ("address", "login_address"),
        limited=True,
    ),
    Kind.HISTORY_REFUSED: Entry(
        "an upload that says itself when it was did not come from a device and address that can say that",
        ("address", "why"),
        limited=True,
    ),
    Kind.DEVICE_LOCKED: Entry("an operator has locked a device for maintenance", ("by", "door", "reason")),
    Kind.DEVICE_UNLOCKED: Entry("a maintenance lock was removed", ("by", "door", "locked_by", "reason")),
    Kind.INPUT_CLEARED: Entry(
        "an administrator has cleared what a device last said of an input",
        ("input", "by", "door", "said_at", "address"),
    ),
    Kind.SETTING_CHANGED: Entry("a setting of a device was changed", ("setting", "before", "after", "requester")),
    Kind.SECURITY: Entry(
        "a caller came in, did not, or changed something; shown among security events only",
        ("what", "who", "address", "device", "detail"),
        limited=True,
    ),
    Kind.SERVER_STARTED: Entry("cmmd serves from now on; no device is online yet", ("version",)),
    Kind.SERVER_STOPPED: Entry("cmmd has ended in an orderly way; no device is online any more", ()),
}
"""Every kind. Details are flat, and printable where a peer had a say in them."""


class _Subscription:
    __slots__ = ("after", "cancelled", "deliver")

    def __init__(self, deliver: Callable[[Event], None], after: int) -> None:
        self.deliver = deliver
        self.after = after
        self.cancelled = False


class _Share(Allowance):
    """The share of one device in the events of a kind, and when its last one was."""

    __slots__ = ("last", "left_out")

    def __init__(self, now: float) -> None:
        super().__init__(now, BURST, REFILL_S)
        self.last = -math.inf
        self.left_out = 0


class _Limit:
    """The limit of one kind's events: about each device, and about all.

    While most of what all can have is left, a device has its own share at once. The less is left, the longer a device
    has to have been quiet: hundreds of devices that cause all they can then wait for one another, and the first event
    of any other one is passed on.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._shares: OrderedDict[Hashable, _Share] = OrderedDict()
        self._all = Allowance(clock.seconds(), OVERALL_BURST, OVERALL_REFILL_S)
        self._left_out = 0  # because of all

    def left_out(self, about: Hashable) -> int | None:
        """Tell how many events were left out before this one; None: this one is left out, too."""
        now = self._clock.seconds()
        share = self._shares.pop(about, None) or _Share(now)
        self._shares[about] = share  # the newest last
        if len(self._shares) > MOST_REMEMBERED:
            self._shares.popitem(last=False)
        if not share.take(now):
            share.left_out += 1
            return None
        left = self._all.left(now)
        crowded = left < OVERALL_BURST * CROWDED_BELOW
        if (crowded and now - share.last < REFILL_S * OVERALL_BURST / max(left, 1.0)) or not self._all.take(now):
            self._left_out += share.left_out + 1
            share.left_out = 0
            return None
        share.last = now
        left_out = share.left_out + self._left_out
        share.left_out = self._left_out = 0
        return left_out


class Events:
    """Numbers events and passes each to the store and to subscribers, all in the same order.

    :param now: Unix time in seconds.
    :param clock: for the limits.
    :param keep: takes an event for the store; it is called first.
    :param last_number: the number of the last event there ever was.
    :ivar last_number: the same, now.
    :ivar counts: events since the start, by kind; every kind is there.
    """

    counts: Mapping[Kind, int]

    def __init__(
        self, *, now: Callable[[], float], clock: IReactorTime, keep: Callable[[Event], None], last_number: int
    ) -> None:
        self.last_number = last_number
        self.counts = self._counts = dict.fromkeys(Kind, 0)
        self._now = now
        self._limits = {kind: _Limit(clock) for kind, entry in CATALOGUE.items() if entry.limited}
        self._keys = {kind: frozenset(entry.details) for kind, entry in CATALOGUE.items()}
        self._serial = count()
        self._subscriptions: dict[int, _Subscription] = {}
        self._queue: deque[Event] = deque()
        self._delivering = False
        self._log_limit = LogLimit(clock)
        self.subscribe(keep)

    def emit(self, kind: Kind, hostid: str, *, about: Hashable | None = None, **details: Detail) -> None:
        """Publish an event. Subscribers are notified before this returns, or after the event in progress.

        :param hostid: the device.
        :param about: whom a limited kind counts for; None: the device.
        :param details: what the catalogue says for this kind, without ``suppressed``.
        :raises ValueError: other details than the catalogue says.
        """
        if details.keys() != self._keys[kind]:
            raise ValueError(f"{kind}: details {sorted(details)}, not {sorted(self._keys[kind])}")
        limit = self._limits.get(kind)
        if limit is not None:
            suppressed = limit.left_out(hostid if about is None else about)
            if suppressed is None:
                return
            details[SUPPRESSED] = suppressed
        self.last_number += 1
        self._counts[kind] += 1
        self._queue.append(
            Event(number=self.last_number, at=int(self._now() * 1000), hostid=hostid, kind=kind.value, details=details)
        )
        if not self._delivering:
            self._deliver()

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Subscribe to every event from now on: the first one has the number after ``last_number``.

        What a subscriber raises is logged, and it is notified of the next event all the same.

        :return: call it to unsubscribe; once or more often.
        """
        number, subscription = next(self._serial), _Subscription(subscriber, self.last_number)
        self._subscriptions[number] = subscription

        def unsubscribe() -> None:
            subscription.cancelled = True
            self._subscriptions.pop(number, None)

        return unsubscribe

    def _deliver(self) -> None:
        self._delivering = True
        try:
            while self._queue:
                event = self._queue.popleft()
                for subscription in tuple(self._subscriptions.values()):
                    if event.number > subscription.after and not subscription.cancelled:
                        self._tell(subscription.deliver, event)
        finally:
            self._delivering = False

    def _tell(self, subscriber: Callable[[Event], None], event: Event) -> None:
        try:
            subscriber(event)
        except Exception:
            # Limited by its code: every new connection of a viewer is another subscriber.
            more = self._log_limit.allows(getattr(subscriber, "__qualname__", type(subscriber).__qualname__))
            if more is not None:
                log.failure(
                    "while telling event {number}, {kind}{more}", number=event.number, kind=event.kind, more=more
                )


# What is not here is logged where it happens, or not at all.
_LINES: dict[str, str] = {
    Kind.ALARM_RAISED: "alarm: {hostid}: {title} ({severity})",
    Kind.ALARM_ACKNOWLEDGED: "alarm acknowledged: {hostid}: {title} ({severity}), by {by}",
    Kind.ALARM_CLEARED: "alarm cleared: {hostid}: {title} ({severity})",
    Kind.MODE_CHANGED: "mode: {hostid}: {after}, was {before}",
    Kind.ENGINE_STARTED: "engine started: {hostid}: {state}",
    Kind.ENGINE_STOPPED: "engine stopped: {hostid}: {state}",
    Kind.MAINS_LOST: "mains lost: {hostid}",
    Kind.MAINS_RETURNED: "mains returned: {hostid}",
    Kind.BREAKER_CHANGED: "{breaker} breaker: {hostid}: {position}",
    Kind.PROFILE_CHANGED: "profile: {hostid}: {after}, was {before}",
    Kind.READING_DECIDED: "found out: {hostid}: {hypothesis} is {choice}: {because}",
    Kind.READING_REOPENED: "open again: {hostid}: {hypothesis}, was {choice}: {because}",
    Kind.DEVICE_LOCKED: "locked for maintenance: {hostid}: {reason}, by {by}",
    Kind.DEVICE_UNLOCKED: "unlocked: {hostid}: by {by}, was locked by {locked_by}: {reason}",
    Kind.INPUT_CLEARED: "input {input} cleared: {hostid}: by {by}, was said by {address}",
    Kind.SETTING_CHANGED: "setting {setting} of {hostid}: {after}, was {before}; changed by {requester}",
}


class EventLog:
    """Logs events, of each device as often as anything is logged of it; other events take no line from alarms.

    :param clock: for that limit.
    :param name: gives the name of a device, as it says it.
    """

    def __init__(self, clock: IReactorTime, name: Callable[[str], str]) -> None:
        self._name = name
        self._of_alarms, self._of_others = LogLimit(clock, burst=20), LogLimit(clock, burst=20)

    def __call__(self, event: Event) -> None:
        """Log one event as a line."""
        line = _LINES.get(event.kind)
        if line is None:
            return
        limit = self._of_alarms if event.kind.startswith("alarm_") else self._of_others
        more = limit.allows(event.hostid)
        if more is None:
            return
        position = "closed" if event.details.get("closed") else "open"
        device = f"{event.hostid} ({self._name(event.hostid)})"
        said = {**event.details, "hostid": device, "position": position}
        log.info("{said}{more}", said=line.format(**said), more=more)
