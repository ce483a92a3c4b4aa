"""The domain of one daemon, put together."""

from collections.abc import Callable
from random import SystemRandom

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.controllers.catalog import Catalog
from cmmd.controllers.evidence.hypotheses import BYTE_ORDER
from cmmd.controllers.evidence.memory import Remembered, with_entry, with_history_read
from cmmd.controllers.evidence.weighing import reopenings
from cmmd.fleet.alarms.alarms import HISTORY_REFUSED, PASSWORD_GUESSED, SESSION_TAKEN_OVER, Alarms
from cmmd.fleet.commands.audit import Audit
from cmmd.fleet.commands.dispatcher import Dispatcher
from cmmd.fleet.commands.queue import Uids
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.devices.enrolment import AcceptRules, Candidate, Policy
from cmmd.fleet.devices.history_rights import HistoryRights
from cmmd.fleet.devices.inputs import REMOTE_INHIBITED
from cmmd.fleet.devices.password_check import Guessing, Throttle
from cmmd.fleet.devices.passwords import Passwords
from cmmd.fleet.devices.presence import Presence
from cmmd.fleet.devices.registry import Registry
from cmmd.fleet.devices.relogin import Relogin
from cmmd.fleet.devices.strangers import Strangers
from cmmd.fleet.errors import UnderWay
from cmmd.fleet.events import EventLog, Events, Kind
from cmmd.fleet.history.history import History
from cmmd.fleet.history.journal import Journal
from cmmd.fleet.history.rereading import Rereading
from cmmd.fleet.history.told import ToldEvents
from cmmd.fleet.telemetry.evidence import Evidence
from cmmd.fleet.telemetry.live import Live, LiveRecord
from cmmd.fleet.telemetry.telemetry import Telemetry
from cmmd.fleet.uploads import Uploads
from cmmd.store.interface import Health, IStore, Snapshot, StoreUnavailable
from cmmd.store.records import ByteOrder, Device

__all__ = ["CommandTerms", "Fleet"]

log = Logger()


class CommandTerms(Struct, frozen=True, kw_only=True):
    """Terms of commands: enabled or not, seconds to wait for an answer, the longest queue of a device.

    :ivar raw: whether raw Modbus frames are written.
    :ivar stood_still: for how many seconds, until just now, this process did; 0: it did not.
    """

    enabled: bool = True
    timeout_s: float = 30.0
    most_waiting: int = 5
    raw: bool = True
    stood_still: Callable[[], float] = lambda: 0.0


class Fleet:
    """All devices and what is known of them.

    :param store: open; :param kept: what it had.
    :param catalog: the controller profiles.
    :param passwords: hashes and checks.
    :param now: Unix time in seconds.
    :param clock: for whatever waits.
    :param policy: who may register; :param max_devices: how many.
    :param interval_s: of history, in seconds; :param retention_days: how long it is kept.
    :param commands: whether and how commands are sent.
    :param reconnect_grace_s: seconds that a device may be without a session before there is an event of it.
    :param store_health: tells how the store is, where it can be unavailable.
    :param strangers: the budget of addresses for what is unknown.
    :param accept: devices that are let in while others wait. :param keep_policy: keeps a policy that was set.
    """

    def __init__(
        self,
        *,
        store: IStore,
        kept: Snapshot,
        catalog: Catalog,
        passwords: Passwords,
        now: Callable[[], float],
        clock: IReactorTime,
        counters: Counters,
        policy: Policy,
        max_devices: int,
        interval_s: float,
        retention_days: int,
        commands: CommandTerms,
        reconnect_grace_s: float = 0.0,
        store_health: Callable[[], Health] = Health,
        strangers: Strangers | None = None,
        accept: AcceptRules | None = None,
        keep_policy: Callable[[Policy], None] = lambda _: None,
    ) -> None:
        self.catalog = catalog
        self._store_health = store_health
        self._now = now
        self.journal = Journal(store, clock)
        self.events = Events(now=now, clock=clock, keep=self.journal.add, last_number=kept.numbers.event)
        self.events.subscribe(EventLog(clock, self._name))
        self.told = ToldEvents(self.events, self.journal)
        self.alarms = Alarms(
            events=self.events,
            keep=self.journal.add,
            now=now,
            open_alarms=kept.alarms,
            last_number=kept.numbers.alarm,
        )
        self.strangers = strangers or Strangers(clock)
        self.throttle = Throttle(clock)
        self.guessing = Guessing(clock, self.throttle, self._guessed)
        self.registry = Registry(
            store=store,
            devices=kept.devices,
            catalog=catalog,
            events=self.events,
            changed=self._changed,
            passwords=passwords,
            guessing=self.guessing,
            strangers=self.strangers,
            now=now,
            clock=clock,
            policy=policy,
            accept=accept,
            keep_policy=keep_policy,
            waits=self._waits,
            max_devices=max_devices,
            recorded=self.journal.recorded,
        )
        self.history_rights = HistoryRights(
            self.registry.device,
            self.events,
            clock,
            self._history_refused,
            [alarm.hostid for alarm in kept.alarms if alarm.signal == HISTORY_REFUSED.name],
        )
        self.presence = Presence(
            clock, self.events, self._home, self._doubtful, self._moved, grace_s=reconnect_grace_s, now=now
        )
        self.live = Live(
            device=self.registry.device, online=self.presence.online, catalog=catalog, uploads=kept.uploads
        )
        self.history = History(
            journal=self.journal,
            store=store,
            interval_s=interval_s,
            versions=kept.profiles,
            last_number=kept.numbers.reading,
            counters=counters,
        )
        self.rereading = Rereading(
            store=store,
            journal=self.journal,
            backlog=lambda: self._store_health().backlog,
            history=self.history,
            record=self.live.get,
            keep_oldest=self._keep_oldest_undecided,
            keep_read=self._keep_history_read,
            clock=clock,
        )
        self.history.kept_undecided = self.rereading.kept_undecided
        self._evidence = Evidence(
            self.events,
            self._remember,
            decided=self.rereading.want,
            reopened=self.rereading.reopened,
            replaced=self.rereading.cut,
        )
        self.uploads = Uploads(
            telemetry=Telemetry(counters, clock, self._byte_order_decided, self._other_plan),
            live=self.live,
            alarms=self.alarms,
            events=self.events,
            evidence=self._evidence,
            history=self.history,
            now=now,
            clock=clock,
            retention_days=retention_days,
            moved=self.registry.places.said,
            keep_inputs=lambda hostid, text: Deferred.fromCoroutine(self.registry.keep_inputs(hostid, text)),
        )

        self.uids = Uids(SystemRandom())
        self.dispatch = Dispatcher(
            device=self.registry.device,
            live=self.live,
            presence=self.presence,
            audit=Audit(
                journal=self.journal,
                store=store,
                events=self.events,
                now=now,
                unfinished=kept.unfinished,
                last_number=kept.numbers.command,
            ),
            uids=self.uids,
            clock=clock,
            enabled=commands.enabled,
            timeout_s=commands.timeout_s,
            most_waiting=commands.most_waiting,
            raw=commands.raw,
            stood_still=commands.stood_still,
        )
        self.relogin = Relogin(self.presence, clock, self.dispatch.busy)
        confirmations = self.dispatch.confirmations
        self.uploads.watch_values(confirmations.uploaded, confirmations.watched)

        for device in self.registry.devices():
            self.rereading.go_on(device)

    def store_health(self) -> Health:
        """Tell whether what is kept reaches the store, and how many rows wait for it."""
        store = self._store_health()
        return Health(up=store.up and self.journal.up, backlog=store.backlog + len(self.journal))

    def logged_in(self, device: Device) -> None:
        """A device has logged in: it may have another controller now, or another plan; and it has restarted."""
        if self.uploads.registered(device):
            self.rereading.cut(device.hostid)
        self.presence.logged_in(device.hostid)
        self.relogin.logged_in(device.hostid)
        self.dispatch.confirmations.logged_in(device.hostid)
        if not self.guessing.alarming(device.hostid):  # open since before a restart
            self._guessed(device.hostid, False)
        if not self.history_rights.refusing(device.hostid):
            self._history_refused(device.hostid, False)

    async def forget(self, hostid: str) -> None:
        """Let a device be unknown from now on: its sessions end, its alarms are cleared, its live record is dropped.

        :raises NoSuchDevice: it is not registered. :raises StoreUnavailable: it is known again, see IStore.
        """
        if not self.store_health().up:
            raise StoreUnavailable("the store does not take anything now")

        async def leave() -> None:
            if self.dispatch.busy(hostid):  # accepted while another change of the device was kept
                raise UnderWay("commands of this device wait or are under way")
            for session in self.presence.sessions(hostid):
                session.close()
            self.uploads.forget(hostid)
            self.live.forget(hostid)
            self.alarms.forget(hostid)
            await self.journal.drain()  # its last upload must not be written after it is gone

        await self.registry.forget(hostid, leave)
        self.history_rights.forget(hostid)

    def may_set_port(self, hostid: str) -> bool:
        """Tell whether the answer to a login may set the port of a module, which it sets as a command would.

        The same speaks against it as against that command in :mod:`cmmd.fleet.commands.interlocks`, but for what
        cannot be at a login: that the device is offline, or has no session.
        """
        device = self.registry.device(hostid)
        if device is None or device.locked_by is not None or self.presence.in_doubt(hostid):
            return False
        record = self.live[hostid]
        return not (REMOTE_INHIBITED.state(record.inputs) or record.remote_locked)

    def _changed(self, device: Device) -> None:
        another_profile = self.uploads.registered(device)
        (self.rereading.cut if another_profile else self.rereading.want)(device.hostid)
        if device.history:
            self.history_rights.forget(device.hostid)
        if not device.enabled:
            for session in self.presence.sessions(device.hostid):
                session.close()

    def _home(self, hostid: str) -> str | None:
        device = self.registry.device(hostid)
        return None if device is None else device.last_login_address

    def _doubtful(self, hostid: str, doubtful: bool) -> None:
        if doubtful:
            self.alarms.raise_own(hostid, SESSION_TAKEN_OVER)
        else:
            self.alarms.clear_own(hostid, SESSION_TAKEN_OVER)

    def _waits(self, candidate: Candidate) -> None:
        details = {name: getattr(candidate, name) for name in ("hostname", "moduletype", "address")}
        self.events.emit(Kind.ENROLMENT_WAITING, candidate.hostid, about=candidate.address, **details)

    def _guessed(self, hostid: str, guessed: bool) -> None:
        if guessed:
            self.alarms.raise_own(hostid, PASSWORD_GUESSED)
        else:
            self.alarms.clear_own(hostid, PASSWORD_GUESSED)

    def _history_refused(self, hostid: str, refused: bool) -> None:
        if refused:
            self.alarms.raise_own(hostid, HISTORY_REFUSED)
        else:
            self.alarms.clear_own(hostid, HISTORY_REFUSED)

    def _moved(self, hostid: str) -> None:
        self.dispatch.reroute(hostid)

    def _name(self, hostid: str) -> str:
        device = self.registry.device(hostid)
        return "" if device is None else device.hostname

    def _byte_order_decided(self, hostid: str, byte_order: ByteOrder | None) -> None:
        self.uploads.byte_order_decided(hostid, byte_order)
        record = self.live[hostid]
        before = record.device.byte_order
        because, state = "change uploads", record.known.byte_order_state
        self._evidence.tell(hostid, BYTE_ORDER, byte_order, before or "", because)
        again = reopenings(state)
        entry = Remembered(byte_order or "", record.upload + 1, int(self._now() * 1000), because, again)
        self._remember(hostid, BYTE_ORDER, entry)
        if byte_order is None:
            self.rereading.reopened(hostid, BYTE_ORDER, entry.at)
        else:
            self.rereading.want(hostid)

    def _keep_oldest_undecided(self, hostid: str, at: int | None) -> Deferred[None]:
        keeping = Deferred.fromCoroutine(self.registry.keep(hostid, lambda _: {"oldest_undecided_at": at}))
        return keeping.addCallback(lambda _: self.live.has_device(hostid))

    def _keep_history_read(self, hostid: str, at: int | None, decided: str) -> Deferred[None]:
        def change(device: Device) -> dict[str, object]:
            return {"oldest_undecided_at": at, "evidence": with_history_read(device.evidence, decided)}

        keeping = Deferred.fromCoroutine(self.registry.keep(hostid, change))
        return keeping.addCallback(lambda _: self.live.has_device(hostid))

    def _remember(self, hostid: str, hypothesis: str, entry: Remembered) -> None:
        def change(device: Device) -> dict[str, object]:
            fields: dict[str, object] = {"evidence": with_entry(device.evidence, hypothesis, entry)}
            return {**fields, "byte_order": entry.choice or None} if hypothesis == BYTE_ORDER else fields

        kept = Deferred.fromCoroutine(self.registry.keep(hostid, change))
        kept.addCallback(lambda _: self.live.has_device(hostid))
        kept.addErrback(self._not_remembered, hostid)

    def _not_remembered(self, failure: Failure, hostid: str) -> None:
        """After the next start the evidence comes again."""
        failure.trap(StoreUnavailable)
        log.warn("evidence about {hostid} is not kept: {error}", hostid=hostid, error=failure.value)

    def _other_plan(self, record: LiveRecord) -> None:
        """Lead a device to a new login that answers another plan; what a stranger says, or history, leads nowhere."""
        if not record.doubted and self.live.made(record.hostid) is record:
            self.relogin.lead(record.hostid)

    def save(self) -> Deferred[None]:
        """At an orderly end: hand what is not in the store yet to it.

        :return: fires when that is done, or the store does not take it.
        """
        self.rereading.stop()
        self.uploads.stop()
        self.relogin.stop()
        places = self.registry.places.stop()
        self.guessing.stop()
        self.history_rights.stop()
        self.registry.unsaved_locks.stop()
        self.history.save(self.live.values())
        unsaved_locks = set(self.registry.unsaved_locks)
        for device in self.registry.devices():
            record = self.live.made(device.hostid)
            known = device.input_reports if record is None or record.reports is None else record.reports.to_text()
            place = places.get(device.hostid, {})
            if known != device.input_reports or device.hostid in unsaved_locks or place:
                self.journal.add(replace(device, input_reports=known, **place))
        return self.journal.stop()
