"""The live record of every device, which readers of real-time data read instead of a database (protocol section 7)."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace
from twisted.logger import Logger

from cmmd.controllers.catalog import Catalog
from cmmd.controllers.evidence.counters import Suspect, judge_counters, settled_choices
from cmmd.controllers.evidence.memory import states_of
from cmmd.controllers.evidence.weighing import decided_choice, is_fixed, settled_choice
from cmmd.controllers.profile import Profile
from cmmd.fleet.devices.inputs import Reports
from cmmd.fleet.telemetry.genset_state import GensetState, StateDetector
from cmmd.fleet.telemetry.plan import Plan
from cmmd.fleet.telemetry.register_state import RegisterState, byte_order_of, with_coil
from cmmd.modbus.frames import Function, ModbusFrameError
from cmmd.modbus.image import ImageError
from cmmd.store.records import Device, LastUpload, Reason

__all__ = ["MONITOR", "Live", "LiveRecord", "Monitor"]

log = Logger()

MONITOR = "monitor_"
"""What precedes the hostid in the name of a live record."""


class LiveRecord:
    """The newest that is known of one device.

    :param device: its registration.
    :param profile: what its registers mean, with the commands that are offered to it: see Catalog.of.
    :ivar plan: what its full uploads answer.
    :ivar known: its controller's coils, inputs and registers.
    :ivar upload: running number of the newest upload.
    :ivar at: when it came, in milliseconds UTC; None: never.
    :ivar unit: the Modbus unit that answered last.
    :ivar doubted: a session that is not trusted has uploaded since the device last said everything.
    :ivar reports: of the device's own inputs, see :mod:`cmmd.fleet.devices.inputs`; None: there never was one.
    :ivar inputs_at: when an upload told other inputs and no values, in milliseconds UTC, and no reading has that yet.
    :ivar inputs_kept_at: when a reading of inputs alone was last kept, the same; None: never.
    :ivar packetnum: number of the last change packet; None: there was none.
    :ivar packet_gaps: how often packets were missing since the start.
    :ivar unplaced: frames of the last upload that had some which answer no request, or any of several: as they came.
    :ivar stale: nothing has come since the start: what is known is from before.
    :ivar situation: what the genset does, as far as it was ever known.
    :ivar fruitless: uploads in a row that brought nothing that can be taken.
    :ivar unsettled: changes were noticed that wait for being told.
    :ivar kept_at: when an upload was last kept, in milliseconds UTC; None: never.
    :ivar owed: why one has to be kept as soon as may be.
    :ivar suppressed: uploads with changes left out since the last kept one.
    :ivar source: of history: by which right the last upload said when it was; empty: its time is when it came.
    :ivar states: the evidence about its hypotheses, one by one, see cmmd.controllers.evidence.weighing.
    :ivar baseline: the counters as they were last believed, packed: see Baseline; empty: they never were.
    :ivar suspects: counters that do not follow from that; None: there are none.
    :ivar weighing: True: the next upload is evidence, whatever changes in it; or the registers, as modules write their
        addresses, one of which a change upload must have for that, where a full one is.
    :ivar saved: number of the newest upload that the store has been given.
    """

    __slots__ = (
        "_was_locked",
        "at",
        "baseline",
        "device",
        "doubted",
        "fruitless",
        "hostid",
        "inputs_at",
        "inputs_kept_at",
        "kept_at",
        "known",
        "owed",
        "packet_gaps",
        "packetnum",
        "plan",
        "profile",
        "reports",
        "saved",
        "situation",
        "source",
        "stale",
        "states",
        "suppressed",
        "suspects",
        "unit",
        "unplaced",
        "unsettled",
        "upload",
        "watch",
        "weighing",
    )

    def __init__(self, device: Device, profile: Profile, plan: Plan, watch: StateDetector) -> None:
        self.hostid = device.hostid
        self.device = device
        self.profile = profile
        self.plan = plan
        self.watch = watch
        self.upload = 0
        self.at: int | None = None
        self.unit: int | None = None
        self.reports: Reports | None = None
        self.doubted = False
        self.inputs_at: int | None = None
        self.inputs_kept_at: int | None = None
        self.packet_gaps = 0
        self.stale = True
        self.kept_at: int | None = None
        self.owed: Reason | None = "first"
        self.suppressed = 0
        self.source = ""
        self.saved = 0
        self.fruitless = 0
        self.forget()

    @property
    def inputs(self) -> int:
        """The states of the device's own inputs, see :mod:`cmmd.fleet.devices.inputs`."""
        return 0 if self.reports is None else self.reports.inputs

    @property
    def remote_locked(self) -> bool:
        """Tell whether the controller has said, when it last said anything of it, that its panel locks remote control.

        In doubt it is locked where it was before, too: a stranger does not unlock it.
        """
        if self.doubted and self._was_locked:
            return True
        inhibits = self.watch.inhibits
        if inhibits:
            last = self.known.all_known()
            states = [last.bit(Function.READ_COILS, address) for address in inhibits]
            if any(states) or None not in states:
                return any(states)
        return self._was_locked

    def doubt(self) -> None:
        """Take values over from now on that need not be the device's."""
        if not self.doubted:
            self._was_locked = self.remote_locked
            self.doubted = True

    def believe_again(self) -> None:
        """Look whether the device itself has said everything anew that it polls."""
        self.doubted = self.known.older is not None or self.known.undecided is not None

    def forget(self, *, was_locked: bool = False) -> None:
        """Know nothing of the controller any more: another one has come.

        :param was_locked: whether the one before locked remote control.
        """
        self._was_locked = was_locked
        byte_order, fixed = byte_order_of(self.device, self.profile)
        self.known = RegisterState(byte_order, fixed=fixed)
        hypotheses = self.profile.hypotheses.all
        self.states = states_of(hypotheses, self.device.evidence, self.device.read_as)
        self.baseline = b""
        self.suspects: tuple[Suspect | None, ...] | None = None
        self.weighing: frozenset[str] | bool = False
        self.profile = self.profile.settled(tuple(map(settled_choice, self.states)))
        self.packetnum: int | None = None
        self.unplaced: tuple[str, ...] = ()
        self.situation = GensetState()
        self.unsettled = False

    def read_by_settings(self) -> None:
        """Read the device by what is decided; what an administrator has set overrides all evidence."""
        device, known = self.device, self.known
        self.weighing = True  # what an administrator no longer says, the next uploads say
        hypotheses = self.profile.hypotheses
        self.states = states_of(hypotheses.all, device.evidence, device.read_as, self.states)
        self.profile = self.profile.settled(settled_choices(hypotheses, self.states, self.suspects))
        byte_order, fixed = byte_order_of(device, self.profile)
        if fixed == is_fixed(known.byte_order_state) and (not fixed or byte_order == known.byte_order):
            return
        if byte_order != known.byte_order:
            if known.byte_order is not None:
                known.reopen()
            if byte_order is not None:
                known.decide(byte_order, self.profile)
            self.unsettled = True
        known.byte_order_state = RegisterState(known.byte_order, fixed=fixed).byte_order_state

    def restore(self, last: LastUpload) -> None:
        """Take over what was known before a restart.

        :raises ImageError: it is damaged; the record is as it was.
        """
        self.known.restore(last.image, last.undecided)
        before = RegisterState(None)
        before.image = self.known.all_known()
        self.baseline = last.counters
        if not last.counters:  # of a version that did not keep them
            choices = [decided_choice(state) for state in self.states]
            found = judge_counters(self.profile.hypotheses, choices, before, last.at, None, None)
            self.baseline = found.baseline.to_bytes()
        self.upload = self.saved = last.upload
        self.at, self.unit, self.kept_at = last.at, last.unit, last.kept_at
        if self.reports is None and last.inputs:
            self.reports = Reports(last_inputs=last.inputs, last_at=last.at)
        self.situation = self.watch.situation(before)

    def newest(self) -> LastUpload:
        """List the values that are known, as they came."""
        assert self.at is not None, "nothing has come yet"
        return LastUpload(
            hostid=self.hostid,
            upload=self.upload,
            at=self.at,
            unit=self.unit,
            kept_at=self.kept_at,
            inputs=self.inputs,
            image=self.known.all_known().to_bytes(),
            undecided=self.known.undecided.to_bytes() if self.known.undecided else b"",
            counters=self.baseline,
        )

    def to_save(self) -> LastUpload:
        """List the values that a restart needs."""
        return self.with_lock(self.newest())

    def with_lock(self, last: LastUpload) -> LastUpload:
        """Give an upload with a lock at the panel that only a stranger has denied, or that another profile had said."""
        if not (self._was_locked and self.watch.inhibits and self.remote_locked):
            return last
        return replace(last, image=with_coil(self.known.all_known(), self.watch.inhibits[0]).to_bytes())


class Monitor(Struct, frozen=True, kw_only=True):
    """The paper's in-memory record of one device.

    :ivar id: running number of the upload.
    :ivar ymid: the device's registration number.
    :ivar data: the register image, raw, as RegisterImage.to_bytes; with what is from before, without what is uncertain.
    :ivar mask: which parts of it are known: by function code, ``[first address, count]`` of each run.
    :ivar status: 1 online, 0 offline.
    :ivar itime: time of the last upload, milliseconds UTC; 0: there was none.
    :ivar deviceNo: the Modbus unit; None: not known.
    """

    id: int
    ymid: int
    hostid: str
    data: bytes
    mask: dict[str, list[tuple[int, int]]]
    status: int
    itime: int
    deviceNo: int | None


class Live(Mapping[str, LiveRecord]):
    """All live records, by hostid; made when a device is first requested.

    :param device: gives the registration of a device.
    :param online: whether a device is connected.
    :param catalog: the profiles.
    :param uploads: what was known before the start.
    :ivar made: the record of a device that has one already, else None: without a call in Python, for each upload.
    """

    def __init__(
        self,
        *,
        device: Callable[[str], Device | None],
        online: Callable[[str], bool],
        catalog: Catalog,
        uploads: Iterable[LastUpload] = (),
    ) -> None:
        self._device = device
        self._online = online
        self._catalog = catalog
        self._plans: dict[str, Plan] = {}
        self._watches = {profile.name: StateDetector(profile) for profile in catalog}
        self._records: dict[str, LiveRecord] = {}
        self.made = self._records.get
        for last in uploads:
            self._restore(last)

    def __getitem__(self, hostid: str) -> LiveRecord:
        record = self._records.get(hostid)
        if record is None:
            device = self._device(hostid)
            if device is None:
                raise KeyError(hostid)
            record = self._records[hostid] = self.new_record(device)
            if device.input_reports:
                record.reports = Reports(device.input_reports)
        return record

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def record(self, device: Device) -> LiveRecord:
        """Give the record of a device; one that was forgotten meanwhile has an empty one."""
        made = self._records.get(device.hostid)
        if made is not None:
            return made
        return self[device.hostid] if self._device(device.hostid) is not None else self.new_record(device)

    def forget(self, hostid: str) -> None:
        """Drop the record of a device that is forgotten."""
        self._records.pop(hostid, None)

    def new_record(self, device: Device) -> LiveRecord:
        """A record that knows nothing yet, for a device as it is registered."""
        profile = self._catalog.of(device.moduletype, device.profile)
        return LiveRecord(device, profile, self._plan(device, profile), self._watches[profile.name])

    def _plan(self, device: Device, profile: Profile) -> Plan:
        """Find the plan that a device was given at its last login."""
        text = device.para_command or profile.plan
        plan = self._plans.get(text)
        if plan is None:
            try:
                plan = self._plans[text] = Plan(text)
            except ModbusFrameError as error:
                log.error(
                    "polling plan of {hostid}: {error}; its profile's is taken", hostid=device.hostid, error=error
                )
                return Plan(profile.plan)
        return plan

    def has_device(self, hostid: str) -> None:
        """Take over what is remembered of the evidence about a device: how it is read stays as it is."""
        record, device = self._records.get(hostid), self._device(hostid)
        if record is not None and device is not None:
            record.device = device

    def _restore(self, last: LastUpload) -> None:
        try:
            self[last.hostid].restore(last)
        except KeyError:
            log.warn("an upload of {hostid} is kept, but no such device", hostid=last.hostid)
        except ImageError as error:
            log.error("last upload of {hostid}: {error}; it is left out", hostid=last.hostid, error=error)

    def registered(self, device: Device) -> tuple[str, str] | None:
        """Take over a registration that has changed.

        :return: the names of the profiles before and after, where they differ: the image is empty then.
        """
        record = self._records.get(device.hostid)
        if record is None:
            return None
        profile = self._catalog.of(device.moduletype, device.profile)
        record.device = device
        record.plan = self._plan(device, profile)
        if record.doubted:  # it begins anew: what strangers said is dropped
            record.forget(was_locked=record.remote_locked)
            record.doubted, record.unsettled = False, True
        if profile.root is record.profile.root:
            settled = record.profile
            record.profile = profile  # other commands may be offered; what the registers mean is as it was
            record.read_by_settings()
            record.unsettled = record.unsettled or record.profile is not settled
            return None
        was_locked = record.remote_locked
        before, record.profile, record.watch = record.profile.name, profile, self._watches[profile.name]
        record.forget(was_locked=was_locked)
        record.unsettled = True  # alarms of signals that the new profile does not have
        return before, profile.name

    def monitor(self, name: str) -> Monitor | None:
        """The record of the paper.

        :param name: ``monitor_<hostid>``.
        :return: None: there is no such device.
        """
        hostid = name.removeprefix(MONITOR)
        if hostid == name:
            return None
        try:
            record = self[hostid]
        except KeyError:
            return None
        image = record.known.all_known()
        return Monitor(
            id=record.upload,
            ymid=record.device.number,
            hostid=hostid,
            data=image.to_bytes(),
            mask={
                f"{function:02X}": [(run.start, len(run)) for run in runs]
                for function in Function
                if function.reads and (runs := image.known(function))
            },
            status=int(self._online(hostid)),
            itime=record.at or 0,
            deviceNo=record.unit,
        )
