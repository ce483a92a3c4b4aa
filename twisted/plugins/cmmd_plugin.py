"""The twistd commands: ``cmmd`` serves, ``cmm-gateway`` is a device, ``cmm-sim`` simulates a fleet of devices."""

from twisted.application.service import ServiceMaker

cmmd = ServiceMaker("cmmd", "cmmd.tap", "Server for SmartGen CMM modules", "cmmd")
cmm_gateway = ServiceMaker("cmm-gateway", "cmmd.gateway.tap", "A CMM module in software", "cmm-gateway")
cmm_sim = ServiceMaker("cmm-sim", "cmmd.simulator.tap", "Simulated CMM modules, for trying cmmd out", "cmm-sim")
