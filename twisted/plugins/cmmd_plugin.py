"""The twistd commands: ``twistd cmmd`` is the server, ``twistd cmm-sim`` a fleet of simulated devices."""

from twisted.application.service import ServiceMaker

cmmd = ServiceMaker("cmmd", "cmmd.tap", "Server for SmartGen CMM modules", "cmmd")
cmm_sim = ServiceMaker("cmm-sim", "cmmd.simulator.tap", "Simulated CMM modules, for trying cmmd out", "cmm-sim")
