"""``cmmd.simulator.tap``: the command line of cmm-sim."""

import resource

from twisted.application.service import Service
from twisted.logger import capturedLogs
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.address import Address
from cmmd.gateway.link import Link
from cmmd.simulator.fleet import Fleet
from cmmd.simulator.tap import Options, makeService

SERVER = ["--server", "127.0.0.1:21318"]


class OptionsTests(SynchronousTestCase):
    def options(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(list(words))
        return options

    def test_defaults(self) -> None:
        options = self.options(*SERVER)
        self.assertEqual(options.server, Address("127.0.0.1", 21318))
        self.assertEqual((options.devices, options.seed, options.model, options.data_mode), (1, 1, "HGM6120N", None))

    def test_all(self) -> None:
        options = self.options(
            *("--server", "[::1]:5", "--devices", "1000", "--model", "HGM4010N", "--seed", "0", "--data-mode", "0")
        )
        self.assertEqual(options.server, Address("::1", 5))
        self.assertEqual((options.devices, options.seed, options.model, options.data_mode), (1000, 0, "HGM4010N", 0))

    def test_wrong_values_end_with_one_line_that_names_the_option(self) -> None:
        for words, name in (
            ([], "--server"),
            (["--server", "host"], "--server"),
            (["--server", "host:0"], "--server"),
            ([*SERVER, "--devices", "0"], "--devices"),
            ([*SERVER, "--devices", "-1"], "--devices"),
            ([*SERVER, "--devices", "many"], "--devices"),
            ([*SERVER, "--devices", "²"], "--devices"),
            ([*SERVER, "--devices", "9" * 5000], "--devices"),
            ([*SERVER, "--devices", "50001"], "--devices"),
            ([*SERVER, "--seed", "x"], "--seed"),
            ([*SERVER, "--seed", ""], "--seed"),
            ([*SERVER, "--model", ""], "--model"),
            ([*SERVER, "--model", "M" * 31], "--model"),
            ([*SERVER, "--model", "a\nb"], "--model"),
            ([*SERVER, "--data-mode", "2"], "--data-mode"),
            ([*SERVER, "--colour", "red"], "colour"),
            ([*SERVER, "what"], "what"),
        ):
            with self.subTest(words=words):
                ended = self.assertRaises(SystemExit, self.options, *words)
                message = str(ended.code)  # the interpreter prints a text on stderr and ends with status 1
                self.assertIsInstance(ended.code, str)
                self.assertTrue(message.startswith("cmm-sim: "), message)
                self.assertIn(name, message)
                self.assertEqual(len(message.splitlines()), 1)
                self.assertLess(len(message), 200)

    def test_no_pidfile_in_the_foreground(self) -> None:
        for nodaemon, before, after in (
            (1, "twistd.pid", ""),
            (1, "mine.pid", "mine.pid"),
            (0, "twistd.pid", "twistd.pid"),
        ):
            with self.subTest(nodaemon=nodaemon, before=before):
                parent = usage.Options()
                parent.update({"nodaemon": nodaemon, "pidfile": before})
                options = Options()
                options.parent = parent
                options.parseOptions(SERVER)
                self.assertEqual(parent["pidfile"], after)


class MakeServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.limit = (100_000, 100_000)
        self.set_to: list[tuple[int, int]] = []
        self.patch(resource, "getrlimit", lambda _: self.limit)
        self.patch(resource, "setrlimit", lambda _, limits: self.set_to.append(limits))

    def service(self, *words: str) -> Fleet:
        options = Options()
        options.parseOptions([*SERVER, *words])
        return makeService(options)

    def test_a_link_for_each_device_and_nothing_started(self) -> None:
        fleet = self.service("--devices", "20", "--model", "HGM6110N")
        links: list[Service] = fleet.services
        self.assertEqual([type(link) for link in links], [Link] * 20)
        self.assertFalse(any(link.running for link in links))
        self.assertEqual(self.set_to, [])

    def test_open_files(self) -> None:
        self.limit = (100, 100_000)
        with capturedLogs() as events:
            self.service("--devices", "500")
        self.assertEqual([soft >= 500 for soft, _ in self.set_to], [True])
        self.assertEqual(list(events), [])

    def test_too_few_open_files(self) -> None:
        self.limit = (100, 200)
        with capturedLogs() as events:
            self.service("--devices", "500")
        self.assertEqual(self.set_to, [(200, 200)])
        self.assertEqual([event["limit"] for event in events], [200])
