"""All tests of connections on real sockets, on a reactor that reads directly and on one that cannot."""

from tests import test_server_direct_reads as short


class ServerTests(short.ServerTests):
    modules = (*short.ServerTests.modules, "tests.test_server_send_gap")
    missing = ("", "_doReadOrWrite")
