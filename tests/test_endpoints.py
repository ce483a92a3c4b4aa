"""Endpoint strings: taken apart as Twisted does, and their paths in the state directory."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import quoteStringArgument
from twisted.trial.unittest import SynchronousTestCase

from cmmd.endpoints import in_state, split_endpoint

STATE = Path("/srv/a:b=c")
QUOTED = r"/srv/a\:b=c"


class EndpointTests(SynchronousTestCase):
    def test_taken_apart(self) -> None:
        for string, apart in (
            (r"tls:\:\:1:1:ca=a\:b", ("tls", ["::1", "1"], {"ca": "a:b"})),
            ("unix:a=b=c", ("unix", [], {"a": "b=c"})),
            (r"unix:a\=b", ("unix", ["a=b"], {})),
            (r"unix:a\\:b", ("unix", ["a\\", "b"], {})),
            ("", ("", [], {})),
            ("x:", ("x", [""], {})),
        ):
            self.assertEqual(split_endpoint(string), apart, string)

    @given(st.text(max_size=20))
    def test_what_is_quoted(self, text: str) -> None:
        self.assertEqual(split_endpoint(f"x:name={quoteStringArgument(text)}"), ("x", [], {"name": text}))

    def test_paths(self) -> None:
        for string, expected in (
            ("tcp:21380:interface=127.0.0.1", "tcp:21380:interface=127.0.0.1"),
            ("unix:web.sock", rf"unix:mode=660:address={QUOTED}/web.sock"),
            ("unix:address=web.sock:mode=666", rf"unix:mode=666:address={QUOTED}/web.sock"),
            ("unix:/run/web.sock:mode=600:lockfile=0", "unix:mode=600:address=/run/web.sock:lockfile=0"),
            ("ssl:443:certKey=/c.pem:privateKey=k.pem", rf"ssl:privateKey={QUOTED}/k.pem:port=443:certKey=/c.pem"),
            ("tls:/certs:extraCertChain=c.pem", "tls:path=/certs:extraCertChain=c.pem"),
            ("ssl:443:k.pem:c.pem", rf"ssl:privateKey={QUOTED}/k.pem:port=443:certKey={QUOTED}/c.pem"),
            ("ssl:443", rf"ssl:privateKey={QUOTED}/server.pem:port=443"),
            ("ssl:1:dhParameters=d", rf"ssl:privateKey={QUOTED}/server.pem:port=1:dhParameters={QUOTED}/d"),
            ("ssl:1:extraCertChain=c", rf"ssl:privateKey={QUOTED}/server.pem:port=1:extraCertChain={QUOTED}/c"),
            ("tls:certs:443", rf"tls:path={QUOTED}/certs:port=443"),
            ("haproxy:unix:web.sock", rf"haproxy:unix:mode=660:address={QUOTED}/web.sock"),
        ):
            self.assertEqual(in_state(string, STATE), expected)

    def test_what_twisted_will_not_understand(self) -> None:
        for string in ("", "ssl", "nonsense:1", "unix:a:660:1:1:too:many", "unix:a:address=b"):
            self.assertIn(in_state(string, STATE), (string, rf"ssl:privateKey={QUOTED}/server.pem"))
