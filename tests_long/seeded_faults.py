"""The table of seeded faults: a line of cmmd, the fault that replaces the line, and the tests that fail then."""

from dataclasses import dataclass

__all__ = ["FAULTS", "Fault"]


@dataclass(frozen=True)
class Fault:
    """One fault.

    :ivar name: the test's name.
    :ivar path: the module below cmmd.
    :ivar line: text that occurs once in the module.
    :ivar instead: the text that replaces it.
    :ivar tests: patterns of the modules in tests that are to catch the fault.
    """

    name: str
    path: str
    line: str
    instead: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "wire_refused_document_is_delivered",
        "wire/splitter.py",
        "            if not refused:\n",
        "            if document:\n",
        ("test_wire_*",),
    ),
    Fault(
        "wire_change_upload_is_answered_under_another_name",
        "wire/reading.py",
        'ANSWERED_AS = {"reqdatachange": "reqdata"}',
        'ANSWERED_AS = {"reqdatachange": "reqdatachange"}',
        ("test_wire_*", "test_server_session"),
    ),
    Fault(
        "fleet_alarm_is_not_cleared",
        "fleet/alarms.py",
        'ended = {one.name: "" for one, state in states if not state and one.name in numbers}',
        "ended: dict[str, str] = {}",
        ("test_fleet_alarms", "test_fleet_uploads"),
    ),
    Fault(
        "fleet_command_is_sent_twice",
        "fleet/dispatch.py",
        "        kind = failure.trap(*_OUTCOMES)\n",
        "        kind = failure.trap(*_OUTCOMES)\n        if kind is NoAnswer:\n            return self._send(order)\n",
        ("test_fleet_commands_dispatcher", "test_commands"),
    ),
    Fault(
        "fleet_locked_remote_control_is_ignored",
        "fleet/interlocks.py",
        "        locked = self._live[device.hostid].remote_locked\n",
        "        locked = False\n",
        ("test_fleet_commands_dispatcher", "test_fleet_commands_send_rate_limit"),
    ),
    Fault(
        "store_row_is_lost_between_statements",
        "store/sqlite_tables.py",
        "            some = records[first : first + self._rows_a_statement]\n",
        "            some = records[first : first + self._rows_a_statement - 1] or records\n",
        ("test_store_contract", "test_store_sqlite"),
    ),
    Fault(
        "store_refused_row_leaves_the_spool_unnoticed",
        "store/handover.py",
        "            if self._refused:\n                await self._put_aside()\n",
        "",
        ("test_store_outbox_spooled", "test_store_outbox_spool"),
    ),
    Fault(
        "server_unknown_device_gets_another_retcode",
        "server/session.py",
        '"unknown device", Reason.UNKNOWN_DEVICE, Retcode.UNKNOWN_DEVICE)',
        '"unknown device", Reason.UNKNOWN_DEVICE, Retcode.NOT_ENROLLED)',
        ("test_server_session",),
    ),
    Fault(
        "server_answer_to_another_command_is_taken",
        "server/roundtrips.py",
        "        if self._ours(answer.uid):\n",
        "        if self._ours(None):\n",
        ("test_server_pending_requests",),
    ),
    Fault(
        "web_write_without_csrf_token_is_taken",
        "web/access.py",
        "    if is_safe(request):\n        return\n",
        "    if request is not None:\n        return\n",
        ("test_web_http_access", "test_web_api"),
    ),
    Fault(
        "gateway_late_order_is_carried_out",
        "gateway/obedience.py",
        "        if self._clock.seconds() >= order.came_at + ORDER_PATIENCE_S:\n",
        "        if self._clock.seconds() >= order.came_at + 3600:\n",
        ("test_gateway_link_session", "test_gateway_link"),
    ),
    Fault(
        "gateway_kept_upload_is_sent_twice",
        "gateway/historian.py",
        "message = None if kept == self._settled else self._dated(kept)",
        "message = self._dated(kept)",
        ("test_gateway_store_and_forward",),
    ),
)
