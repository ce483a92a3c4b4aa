"""``twistd -n cmm-gateway``: a controller on a serial port reports to a server; here everything is wired up."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random
from typing import IO, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python import usage

from cmmd import __version__, config
from cmmd.controllers.catalog import load_catalog
from cmmd.daemon import StateInUse, end_orderly_on_signals, foreground_without_pidfile, lock_state
from cmmd.gateway import settings as options_of
from cmmd.gateway.address import Address, EndpointFactory, parse_address, tcp_endpoints
from cmmd.gateway.bus import Bus, Direction, Line, port_opener
from cmmd.gateway.identity import IdentityError, login_params, own_hostid, own_password
from cmmd.gateway.inputs import Contact, InputError, Inputs, contact_at
from cmmd.gateway.link import Link
from cmmd.gateway.poller import BusSource
from cmmd.gateway.status import Status
from cmmd.gateway.tls import expected_name, tls_endpoints
from cmmd.gateway.wiring import BAUD_RATES, PORT_CODES, WIRING_FILE, Wires, Wiring, wires_at_start
from cmmd.tls.files import OwnFiles, TLSFilesError, client_options
from cmmd.wire.quoting import quoted

__all__ = ["Gateway", "Options", "makeService"]

log = Logger()


class Options(usage.Options):
    """Command line of ``twistd cmm-gateway``. What is wrong ends the process with one line and exit status 1.

    :ivar settings: the configuration.
    :ivar state: the state directory.
    """

    synopsis = "--config FILE [--state DIR]"
    longdesc = "A CMM module in software: reports the genset controller on a serial port to cmmd or to another server."
    optParameters = [  # noqa: RUF012 - usage.Options wants it so
        ["config", "c", None, "Configuration file (TOML); etc/gateway.toml explains every option. (required)"],
        ["state", "s", "var/gateway", "Directory for everything that is kept; created where it is missing."],
    ]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.toml"), "state": usage.CompleteDirs()})

    settings: options_of.Settings
    state: Path

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line.

        :raises SystemExit: it, or the configuration, is wrong.
        """
        try:
            super().parseOptions(options)
        except (usage.UsageError, config.ConfigError) as error:
            raise SystemExit(f"cmm-gateway: {error}") from None

    def opt_version(self) -> None:
        """Print the version of cmmd and exit."""
        sys.stdout.write(f"cmmd {__version__}\n")
        raise SystemExit(0)

    def parseArgs(self, *words: str) -> None:
        """Take nothing but options."""
        if words:
            raise usage.UsageError(f"{quoted(words[0])} is not an option")

    def postOptions(self) -> None:
        """Read the configuration."""
        foreground_without_pidfile(self.parent)
        if self["config"] is None:
            raise usage.UsageError("--config FILE is required; etc/gateway.toml has every option")
        self.state = Path(self["state"]).absolute()
        self.settings = config.read(Path(self["config"]), options_of.Settings)
