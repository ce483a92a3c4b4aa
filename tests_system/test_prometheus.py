"""A real Prometheus with a real daemon: formats, rules, scrapes, queries."""

import atexit
import json
import re
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.child import Child
from tests.daemon import REPOSITORY, service_port, until
from tests.fleet_process import FleetProcess
from tests_system.programs import answer, asked, run
from tests_system.web_daemon import WebDaemon

RULES = REPOSITORY / "etc" / "prometheus"
DASHBOARDS = sorted((REPOSITORY / "etc" / "grafana").glob("*.json"))
DEVICES = 5

VARIABLES = {
    "$instance": ".*",
    "$hostid": "H",
    "$name": "N",
    "$__rate_interval": "1m",
    "$__interval": "1m",
    "$__range": "1h",
}
"""What Grafana puts in place of its variables."""


def new_folder() -> Path:
    folder = Path(mkdtemp(prefix="cmmd-system-"))
    atexit.register(shutil.rmtree, folder)
    return folder


@cache
def daemon() -> WebDaemon:
    """One daemon for all tests, and some simulated devices that are online."""
    folder = new_folder()
    made = WebDaemon(folder)
    atexit.register(made.kill)
    made.start_all()
    fleet = FleetProcess(folder, made.port, DEVICES, "--seed", "1")
    atexit.register(fleet.terminate)
    fleet.wait_until_all_are(True, 60)
    until(lambda: told(made, "/metrics/devices").count(b"genset_frequency_hertz{") >= 2 * DEVICES, "uploads")
    return made


@cache
def token(made: WebDaemon) -> str:
    """What lets Prometheus in."""
    return made.new_token("prometheus", "viewer")


def told(made: WebDaemon, path: str, **headers: str) -> bytes:
    """What the daemon answers to whoever has a token."""
    return answer(made.url + path, authorization=f"Bearer {token(made)}", **headers)


class Prometheus(Child):
    """Debian's Prometheus with the configuration of a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder / "output")
        options = (
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        )
        self._launch(["prometheus", *options], cwd=folder)


@cache
def prometheus() -> str:
    """The address of a Prometheus that scrapes the daemon, with the configuration that we ship."""
    folder = new_folder()
    (folder / "cmmd.rules.yml").write_bytes((RULES / "cmmd.rules.yml").read_bytes())
    (folder / "cmmd.token").write_text(token(daemon()), encoding="ascii")
    (folder / "prometheus.yml").write_text(scrape_config(folder), encoding="utf-8")
    port = service_port()
    process = Prometheus(folder, port)
    atexit.register(process.kill)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        process.assert_alive()
        try:
            return b"Ready" in answer(f"{url}/-/ready")
        except OSError:
            return False

    until(ready, "Prometheus is ready")
    return url


def scrape_config(folder: Path) -> str:
    """The one that we ship, for this daemon, more often, with the token of a folder."""
    text = (RULES / "prometheus.yml").read_text(encoding="utf-8")
    text, authorizations = re.subn(r"(?m)^( *credentials_file): .*", rf"\1: {folder / 'cmmd.token'}", text)
    text, targets = re.subn(r'"127\.0\.0\.1:21380"', f'"127.0.0.1:{daemon().web_port}"', text)
    text, intervals = re.subn(r"(?m)^( *(?:scrape|evaluation)_interval): .*", r"\1: 1s", text)
    text, timeouts = re.subn(r"(?m)^ *scrape_timeout: .*\n", "", text)
    assert (authorizations, targets, intervals, timeouts) == (2, 2, 3, 1)
    return text


class FormatTests(SynchronousTestCase):
    def test_check_metrics(self) -> None:
        for path in ("/metrics", "/metrics/devices"):
            self.assertEqual(run("promtool", "check", "metrics", said=told(daemon(), path)), "", path)

    def test_every_device_is_told(self) -> None:
        text = told(daemon(), "/metrics/devices").decode()
        self.assertEqual(len(re.findall(r"(?m)^genset_up\{.*\} 1$", text)), DEVICES)

    def test_nobody_comes_in_without_a_token(self) -> None:
        self.assertIn(b"genset_up", told(daemon(), "/metrics/devices"))
        for path in ("/metrics", "/metrics/devices"):
            self.assertIn(b'"status":401', answer(daemon().url + path).replace(b" ", b""), path)

    def test_openmetrics(self) -> None:
        for path in ("/metrics", "/metrics/devices"):
            text = told(daemon(), path, accept="application/openmetrics-text;version=1.0.0")
            self.assertTrue(text.endswith(b"# EOF\n"), path)


class RulesTests(SynchronousTestCase):
    def test_rules_do_what_they_say(self) -> None:
        for tests in sorted((RULES / "tests").glob("*.test.yml")):
            self.assertIn("SUCCESS", run("promtool", "test", "rules", tests))

    def test_every_alert_is_tested(self) -> None:
        alerts = set(re.findall(r"- alert: (\w+)", (RULES / "cmmd.rules.yml").read_text(encoding="utf-8")))
        tests = "".join(file.read_text(encoding="utf-8") for file in (RULES / "tests").glob("*.test.yml"))
        raised = set(re.findall(r"alertname: (\w+)\n +exp_alerts:", tests))
        self.assertEqual(alerts, raised)

    def test_check_config(self) -> None:
        """All of it, with the file that holds the token."""
        folder = new_folder()
        (folder / "cmmd.rules.yml").write_bytes((RULES / "cmmd.rules.yml").read_bytes())
        (folder / "cmmd.token").write_text("token", encoding="ascii")
        text = (RULES / "prometheus.yml").read_text(encoding="utf-8")
        (folder / "prometheus.yml").write_text(text.replace("/etc/prometheus/", f"{folder}/"), encoding="utf-8")
        self.assertIn("SUCCESS", run("promtool", "check", "config", folder / "prometheus.yml"))


class ScrapeTests(SynchronousTestCase):
    def test_a_gensets_frequency(self) -> None:
        query = 'genset_frequency_hertz{side="mains"}'
        until(lambda: len(asked(prometheus(), query)) == DEVICES, "the frequency of every device")
        for sample in asked(prometheus(), query):
            self.assertEqual(sample["metric"]["job"], "gensets")
            self.assertEqual(sample["metric"]["model"], "HGM6120N")
            frequency = float(sample["value"][1])
            self.assertTrue(frequency == 0 or 45 < frequency < 55, frequency)  # 0: its mains are away just now

    def test_both_are_scraped(self) -> None:
        until(lambda: len(asked(prometheus(), "up == 1")) == 2, "both are up")
        until(lambda: asked(prometheus(), "cmmd_devices_online"), "the daemon's own metrics")
        (online,) = asked(prometheus(), "cmmd_devices_online")
        self.assertEqual(float(online["value"][1]), DEVICES)

    def test_rules_are_evaluated(self) -> None:
        def evaluated() -> bool:
            groups = json.loads(answer(f"{prometheus()}/api/v1/rules"))["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            self.assertEqual([rule["lastError"] for rule in rules if "lastError" in rule], [])
            return len(rules) > 10 and all(rule["health"] == "ok" for rule in rules)

        until(evaluated, "every rule is evaluated")

    def test_dashboards_ask_what_prometheus_understands(self) -> None:
        asked_for = 0
        for file in DASHBOARDS:
            for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
                for target in panel.get("targets", ()):
                    if "expr" in target:
                        query = target["expr"]
                        for variable, value in VARIABLES.items():
                            query = query.replace(variable, value)
                        asked(prometheus(), query)
                        asked_for += 1
        self.assertGreater(asked_for, 50)
