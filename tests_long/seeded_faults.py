"""The table of seeded faults: a line of cmmd, the fault that replaces the line, and the tests that fail then."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FAULTS", "Fault", "module_of", "tests_of"]


@dataclass(frozen=True)
class Fault:
    """One fault.

    :ivar name: the test's name.
    :ivar line: text that occurs once in one module of cmmd, and in no other.
    :ivar instead: the text that replaces it.
    :ivar tests: patterns of the modules in tests that are to catch the fault.
    """

    name: str
    line: str
    instead: str
    tests: tuple[str, ...]


def module_of(fault: Fault, package: Path) -> Path:
    """Find the module that a fault is put into.

    :param package: the folder ``cmmd``.
    :raises AssertionError: no module has the line, or several have it: choose another line.
    """
    found = {one: text.count(fault.line) for one in package.rglob("*.py") if fault.line in (text := _read(one))}
    assert list(found.values()) == [1], f"{fault.name}: {fault.line!r} occurs in {found}: choose another line"
    return next(iter(found))


def tests_of(fault: Fault, folder: Path) -> list[str]:
    """Name the modules of tests that are to catch a fault.

    :param folder: ``tests``.
    :raises AssertionError: a pattern fits no module.
    """
    found = {pattern: [one.stem for one in folder.glob(f"{pattern}.py")] for pattern in fault.tests}
    assert all(found.values()), f"{fault.name}: {found}"
    return sorted({f"tests.{name}" for names in found.values() for name in names})


def _read(module: Path) -> str:
    return module.read_text(encoding="utf-8")


FAULTS = (
    Fault(
        "wire_refused_document_is_delivered",
        "            if not refused:\n",
        "            if document:\n",
        ("test_wire_*",),
    ),
    Fault(
        "wire_change_upload_is_answered_under_another_name",
        'ANSWERED_AS = {"reqdatachange": "reqdata"}',
        'ANSWERED_AS = {"reqdatachange": "reqdatachange"}',
        ("test_wire_*", "test_server_session"),
    ),
    Fault(
        "fleet_alarm_is_not_cleared",
        'ended = {one.name: "" for one, state in states if not state and one.name in numbers}',
        "ended: dict[str, str] = {}",
        ("test_fleet_alarms", "test_fleet_uploads"),
    ),
    Fault(
        "fleet_command_is_sent_twice",
        "        kind = failure.trap(*UNANSWERED)\n",
        "        kind = failure.trap(*UNANSWERED)\n"
        "        if kind is NoAnswer:\n            return self._send(order)\n",
        ("test_fleet_commands_dispatcher", "test_commands"),
    ),
    Fault(
        "fleet_locked_remote_control_is_ignored",
        "        locked = self._live[device.hostid].remote_locked\n",
        "        locked = False\n",
        ("test_fleet_commands_dispatcher", "test_fleet_commands_queue"),
    ),
    Fault(
        "store_row_is_lost_between_statements",
        "            some = records[first : first + self._rows_a_statement]\n",
        "            some = records[first : first + self._rows_a_statement - 1] or records\n",
        ("test_store_contract", "test_store_sqlite"),
    ),
    Fault(
        "store_refused_row_leaves_the_spool_unnoticed",
        "            if self._refused:\n                await self._put_aside()\n",
        "",
        ("test_store_outbox_spooled", "test_store_outbox_spool"),
    ),
    Fault(
        "server_unknown_device_gets_another_retcode",
        '"unknown device", reason, Retcode.UNKNOWN_DEVICE)',
        '"unknown device", reason, Retcode.NOT_ENROLLED)',
        ("test_server_session",),
    ),
    Fault(
        "server_answer_to_another_command_is_taken",
        "        if self._ours(answer.uid):\n",
        "        if self._ours(None):\n",
        ("test_server_pending_requests",),
    ),
    Fault(
        "web_write_without_csrf_token_is_taken",
        "    if is_safe(request):\n        return\n",
        "    if request is not None:\n        return\n",
        ("test_web_http_access", "test_web_api"),
    ),
    Fault(
        "gateway_late_order_is_carried_out",
        "        if self._clock.seconds() >= order.came_at + ORDER_PATIENCE_S:\n",
        "        if self._clock.seconds() >= order.came_at + 3600:\n",
        ("test_gateway_link_session", "test_gateway_link"),
    ),
    Fault(
        "gateway_kept_upload_is_sent_twice",
        "if (kept.number, kept.stamp) != self._settled:",
        "if kept.number:",
        ("test_gateway_store_and_forward",),
    ),
)
