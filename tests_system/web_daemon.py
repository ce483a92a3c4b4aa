"""A real daemon that people and Prometheus can come in at."""

from pathlib import Path

from tests.daemon import Daemon, endpoint, service_port
from tests_system.programs import new_token

__all__ = ["WebDaemon"]


class WebDaemon(Daemon):
    """A daemon with ``[web]`` at a port of 127.0.0.1.

    :ivar web_port: this port. :ivar url: the address of its root, without a slash at the end.
    """

    def __init__(self, folder: Path) -> None:
        self.web_port = service_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        super().__init__(folder, {"web": {"listen": [endpoint(self.web_port)]}})

    def start_all(self) -> "WebDaemon":
        """Start it and wait until it takes devices and people."""
        self.start([self.port, self.web_port])
        return self

    def new_token(self, name: str, role: str) -> str:
        """Make a token as an operator does."""
        return new_token(self.state, name, role)
