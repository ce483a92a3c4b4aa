"""The web over TLS: a real daemon, whose key and certificate are in its state directory."""

import http.client
import json
import os
import signal
import socket
import ssl
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.service.tokens import Tokens
from tests.control_world import Authority, folder
from tests.daemon import DEADLINE_S, Daemon, service_port, until

HOST = "127.0.0.1"


class TLSTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port = service_port()
        listen = f"ssl:{self.port}:interface={HOST}:privateKey=web.key:certKey=web.pem"
        daemon = Daemon(folder(self), {"web": {"listen": [listen]}})
        daemon.state.mkdir()
        self.authority = Authority(daemon.state)
        files = self.authority.issue("web", host=HOST)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(str(daemon.state / "notify"))
        self.manager.settimeout(DEADLINE_S)
        os.environ["NOTIFY_SOCKET"] = str(daemon.state / "notify")
        self.addCleanup(os.environ.pop, "NOTIFY_SOCKET")
        self.trusting = ssl.create_default_context(cafile=files.ca)
        self.token = Tokens(daemon.state).add("me", "viewer")
        self.addCleanup(daemon.kill)
        self.daemon = daemon.start([self.port])

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, str]:
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=DEADLINE_S, context=self.trusting)
        self.addCleanup(connection.close)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer, answer.read().decode()

    def test_everything(self) -> None:
        answer, text = self.ask("GET", "/metrics", headers={"Authorization": f"Bearer {self.token}"})
        self.assertEqual(answer.status, 200)
        self.assertIn("cmmd_store_up 1.0\n", text)
        origin = {"Origin": f"https://{HOST}:{self.port}"}
        answer, text = self.ask("POST", "/api/v1/session", {"token": self.token}, origin)
        self.assertEqual(answer.status, 201, text)
        cookie, *flags = (answer.getheader("Set-Cookie") or "").split("; ")
        self.assertIn("Secure", flags)
        answer, text = self.ask("GET", "/api/v1/status", headers={**origin, "Cookie": cookie})
        self.assertEqual((answer.status, json.loads(text)["bugs"]), (200, 0))
        without_tls = {"Origin": f"http://{HOST}:{self.port}", "Cookie": cookie}
        answer, text = self.ask("GET", "/api/v1/status", headers=without_tls)
        self.assertEqual((answer.status, json.loads(text)["code"]), (403, "foreign_origin"))
        answer, text = self.ask("POST", "/api/v1/session", {"token": self.token})  # a page of no browser has no Origin
        self.assertIn("Secure", answer.getheader("Set-Cookie") or "")
        self.assertTrue(cookie.startswith("__Host-cmmd_session_"), cookie)
        self.assertIn("max-age", answer.getheader("Strict-Transport-Security") or "")
        self.signals()
        self.assertTrue(self.manager.recv(200).startswith(b"READY=1"))
        self.assertEqual(self.daemon.terminate(), 0, self.daemon.log)
        self.assertEqual(self.manager.recv(200), b"STOPPING=1")
        self.assertNotIn("Traceback", self.daemon.log)

    def signals(self) -> None:
        """SIGHUP has the certificate read again, a broken one changes nothing, SIGUSR1 and SIGUSR2 end nothing."""
        before = self.serial()
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(self.daemon.pid, number)
        (self.daemon.state / "web.pem").write_bytes(b"broken")
        os.kill(self.daemon.pid, signal.SIGHUP)
        until(lambda: "the certificates from before stay in use" in self.daemon.log, "it says so")
        self.assertEqual(self.serial(), before)
        self.authority.issue("web", host=HOST)
        os.kill(self.daemon.pid, signal.SIGHUP)
        until(lambda: self.serial() != before, "it shows the new certificate")

    def serial(self) -> str:
        """The number of the certificate that the daemon shows now."""
        with (
            socket.create_connection((HOST, self.port), timeout=DEADLINE_S) as plain,
            self.trusting.wrap_socket(plain, server_hostname=HOST) as secured,
        ):
            return str((secured.getpeercert() or {})["serialNumber"])
