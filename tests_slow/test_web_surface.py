"""schemathesis against a real daemon, and a web that finds its port taken."""

import json
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import test_web_surface as short
from tests.daemon import endpoint, environment
from tests.test_web_surface import running

APART = ("sign_in", "disable_device")
"""Operations that have a run of their own: after these, or while they go on, others would not be answered."""

SIGNING_IN = """\
import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    shown = case.body.get("token") if isinstance(case.body, dict) and len(case.body) == 1 else None
    if isinstance(shown, str) and 0 < len(shown) <= 200:
        case.body = {{"token": "{token}"}}
"""

CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "negative_data_rejection", "unsupported_method", "allow_header_conformance"),
)
EXPECTED_REFUSALS = ("400", "401", "403", "404", "405", "406", "409", "413", "414", "415", "422", "429", "5xx")


class FuzzTests(SynchronousTestCase):
    """schemathesis: no 5xx, and no answer that the document does not have."""

    def fuzz(self, *arguments: str, hostid: str = "", config: str = "") -> None:
        """:param hostid: of the device that it plays with; the first one."""
        one = running()
        lists = ", ".join(f'"{status}"' for status in EXPECTED_REFUSALS)
        (one.folder / "schemathesis.toml").write_text(
            f'{config}\n[parameters]\n"path.hostid" = "{hostid or one.hostids[0]}"\n"path.number" = 1\n'
            f'"path.name" = "hgm6120n"\n"path.input" = "remote_inhibited"\n'
            f"[checks]\nnegative_data_rejection.expected-statuses = [{lists}]\n"
        )
        _, document = one.ask("GET", "/api/v1/openapi.json")
        (one.folder / "openapi.json").write_text(document)
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                *("--config-file", "schemathesis.toml", "run", "openapi.json"),
                *("--url", f"http://127.0.0.1:{one.port}", "-H", f"Authorization: Bearer {one.token}"),
                *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
                *("--max-examples", "10", "--max-time", "30", "--request-timeout", "70", "--no-color"),
                *arguments,
            ],
            cwd=one.folder,
            env=environment(),
            timeout=150,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = "\n".join(line[:500] for line in done.stdout.splitlines())
        self.assertEqual(done.returncode, 0, said)
        self.assertNotIn("Traceback", one.daemon.log)
        self.assertEqual(json.loads(one.ask("GET", "/api/v1/status")[1])["bugs"], 0)

    def test_most(self) -> None:
        self.fuzz(*(word for name in APART for word in ("--exclude-operation-id", name)))

    def test_disable_device(self) -> None:
        """Of a device that nobody else needs."""
        hostid = "0" * 24
        one = running()
        status, said = one.ask("POST", "/api/v1/devices", json.dumps({"hostid": hostid}), one.with_json)
        self.assertEqual(status, 201, said)
        self.fuzz("--include-operation-id", "disable_device", "--max-time", "20", hostid=hostid)
        self.assertIs(json.loads(one.ask("GET", f"/api/v1/devices/{hostid}")[1])["settings"]["enabled"], False)

    def test_sign_in(self) -> None:
        """With a right token, wherever one could be: wrong ones are answered late."""
        one = running()
        (one.folder / "hooks.py").write_text(SIGNING_IN.format(token=one.token))
        self.fuzz("--include-operation-id", "sign_in", "--max-time", "5", config='hooks = "hooks.py"')


class PortTests(short.WebDaemonTestCase):
    def test_port_in_use(self) -> None:
        daemon, port = self.prepared()
        daemon.start([port])
        other, _ = self.prepared()
        config = other.config.read_text(encoding="utf-8")
        other.config.write_text(re.sub(r'(\[web\]\nlisten = \[")[^"]*', rf"\g<1>{endpoint(port)}", config))
        other.begin()
        self.assertEqual(other.ended(), 1)
        (line,) = [line for line in other.log.splitlines() if "] cmmd: " in line]
        self.assertIn(f"web: {endpoint(port)}: ", line)
