"""The daemon with nothing but its metrics at ``[web] listen``."""

import sys
import time
from typing import Any, cast

from twisted.internet import reactor as installed_reactor
from twisted.internet.endpoints import serverFromString
from twisted.python.log import startLogging
from twisted.web.resource import Resource
from twisted.web.server import Site

from cmmd import tap
from cmmd.web.monitoring import Monitoring


def main() -> None:
    reactor = cast("Any", installed_reactor)
    startLogging(sys.stdout, setStdout=False)
    options = tap.Options()
    options.parseOptions(sys.argv[1:])
    server = tap.makeService(options)
    server.startService()
    assert server.fleet is not None and server._sessions is not None
    monitoring = Monitoring(
        fleet=server.fleet,
        tally=server.tally,
        connections=server._sessions.by_role,
        now=time.time,
        monotonic=time.monotonic,
        clock=reactor,
        max_age_s=options.settings.web.device_metrics_max_age,
    )
    monitoring.start()
    monitoring.metrics.putChild(b"devices", monitoring.device_metrics)
    root = Resource()
    root.putChild(b"metrics", monitoring.metrics)
    for string in options.settings.web.listen:
        serverFromString(reactor, string).listen(Site(root))
    reactor.addSystemEventTrigger("before", "shutdown", server.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
