"""A server's side of TLS: forward secrecy, certificates that can be read again or revoked, checks of clients."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Struct
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, trustRootFromCertificates
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from cmmd.tls.files import LOWEST, OwnFiles, TLSFiles, TLSFilesError, load_own, load_trusted
from cmmd.tls.reasons import why

__all__ = [
    "CIPHERS",
    "RELOADABLE",
    "ClientCertificates",
    "Revoked",
    "ServerTLS",
    "TLSEndpoint",
    "endpoint_with_tls",
    "why_no_client",
]

log = Logger()

# --- revoked certificates --------------------------------------------------------------------------------------------


_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
# Alone, or as ``openssl x509 -fingerprint -sha256`` writes it: ``sha256 Fingerprint=23:7F:...``.
_FINGERPRINT = re.compile(r"(?:sha-?256(?:\s+fingerprint)?[\s=]*)?([0-9a-f]{64})")


class _BadLines(TLSFilesError):
    """Some lines are no fingerprints; the others count."""


class Revoked:
    """Revoked certificates, read from a file: CRLs in PEM, or SHA-256 fingerprints, one a line, ``#`` for comments.

    :param path: the file. :param authorities: the certificates of the CA, which have to have signed a CRL.
    :raises TLSFilesError: the file cannot be read, nothing in it can, or a CRL of it cannot.
    """

    def __init__(self, path: Path, authorities: list[x509.Certificate]) -> None:
        self._path = path
        self._authorities = authorities
        self._seen: tuple[int, ...] = ()
        self._serials: frozenset[tuple[bytes, int]] = frozenset()
        self._fingerprints: frozenset[str] = frozenset()
        try:
            self._read()
        except _BadLines as error:
            if not self._serials and not self._fingerprints:
                raise
            log.error("{error}; what else is there counts", error=error)

    def has(self, certificate: x509.Certificate) -> bool:
        """Tell whether a certificate is revoked. What the file said before counts, too, while any of it cannot be read.

        What cannot be read is logged once for each change of the file.
        """
        try:
            self._read()
        except TLSFilesError as error:
            log.error("{error}; what was revoked before stays revoked", error=error)
        serial = (certificate.issuer.public_bytes(), certificate.serial_number)
        return serial in self._serials or certificate.fingerprint(SHA256()).hex() in self._fingerprints

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            text = self._path.read_bytes()
        except OSError as error:
            self._seen = ()
            raise TLSFilesError(f"{self._path}: {error.strerror}") from None
        self._seen = seen
        errors: list[TLSFilesError] = []
        serials: set[tuple[bytes, int]] = set()
        for pem in _CRL.findall(text):
            try:
                serials |= self._serials_of(pem)
            except TLSFilesError as error:
                errors.append(error)
        fingerprints, bad = _fingerprints(_CRL.sub(b"", text).decode("utf-8-sig", "replace"))
        if any("-----" in line for line in bad):  # half a CRL: there is no telling which certificates are missing
            errors.append(TLSFilesError(f"{self._path}: part of a CRL in PEM"))
        if bad:
            text_of = f"{bad[0][:20]!r} is neither a SHA-256 fingerprint nor part of a CRL"
            errors.append(_BadLines(f"{self._path}: {text_of}; lines like that: {len(bad)}"))
        if errors:  # what cannot be read may be what was there before
            serials |= self._serials
            fingerprints |= self._fingerprints
        self._serials, self._fingerprints = frozenset(serials), frozenset(fingerprints)
        if errors:
            raise errors[0]

    def _serials_of(self, pem: bytes) -> set[tuple[bytes, int]]:
        try:
            revocations = x509.load_pem_x509_crl(pem)
            signed = any(
                one.subject == revocations.issuer and revocations.is_signature_valid(one.public_key())  # type: ignore[arg-type]
                for one in self._authorities
            )
        except (ValueError, TypeError):
            raise TLSFilesError(f"{self._path}: no CRL in PEM") from None
        if not signed:
            raise TLSFilesError(f"{self._path}: a CRL that none of the CA's certificates has signed")
        return {(revocations.issuer.public_bytes(), one.serial_number) for one in revocations}


def _fingerprints(text: str) -> tuple[set[str], list[str]]:
    """Read fingerprints, one a line.

    :return: them in lower-case hex, and the lines that are none.
    """
    good: set[str] = set()
    bad: list[str] = []
    for line in text.splitlines():
        said = line.partition("#")[0].strip()
        found = _FINGERPRINT.fullmatch(said.replace(":", "").lower())
        if found is not None:
            good.add(found[1])
        elif said:
            bad.append(said)
    return good, bad


# --- the server ------------------------------------------------------------------------------------------------------


CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
"""Of TLS 1.2, only those with forward secrecy: a key that is stolen later opens no record of before. Those of TLS 1.3
all have it."""


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The daemon's side of TLS: TLS 1.2 or later.

    :param files: read now; with ``ca``, no client is let in without a certificate of that CA, for clients.
    :param required: False: a client without any certificate is let in, too; one that it shows has to be such.
    :param revoked: a file of certificates that count no more, see :class:`Revoked`; None: there is none.
    :param name: what the configuration calls it, for the log.
    :raises TLSFilesError: a file cannot be used.
    """

    def __init__(
        self, files: OwnFiles, *, revoked: Path | None = None, name: str = "control.tls", required: bool = True
    ) -> None:
        self._files = files
        self._verify_flags = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0)
        self._revoked_file = revoked
        self._name = name
        self._load()

    def reload(self) -> bool:
        """Read the files again, for connections that come from now on; those that stand go on.

        :return: whether they can be used. If not, all is as it was, and the log says why.
        """
        try:
            self._load()
        except TLSFilesError as error:
            log.error("{name}: {error}; the certificates from before stay in use", name=self._name, error=str(error))
            return False
        log.info("{name}: certificates read again from {file}", name=self._name, file=str(self._files.certificate))
        return True

    def counts(self, certificate: x509.Certificate) -> bool:
        """Tell whether a client's certificate, which was good when it was shown, has not been revoked since."""
        return self._revoked is None or not self._revoked.has(certificate)

    def serverConnectionForTLS(self, _: object) -> SSL.Connection:
        """Make the TLS side of a new connection."""
        return SSL.Connection(self._options.getContext(), None)

    def _load(self) -> None:
        files = self._files
        own = load_own(files)
        trusted = load_trusted(files.ca) if isinstance(files, TLSFiles) else None
        revoked = None
        if self._revoked_file is not None:
            authorities = [one.original.to_cryptography() for one in trusted or ()]
            revoked = Revoked(self._revoked_file, authorities)
        try:
            options = CertificateOptions(
                privateKey=own.key,
                certificate=own.certificate.original,
                extraCertChain=own.between,
                trustRoot=None if trusted is None else trustRootFromCertificates(trusted),
                raiseMinimumTo=LOWEST,
                acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(CIPHERS),
            )
            context = options.getContext()
        except SSL.Error as error:
            raise TLSFilesError(f"{files.certificate}: {why(error)}") from None
        if trusted is not None:
            context.set_verify(self._verify_flags, self._verify)
        self._options, self._revoked = options, revoked

    def _verify(self, _: object, certificate: Any, _error: int, depth: int, good: int) -> bool:
        """Judge a certificate of the chain that a client shows; OpenSSL has looked at signatures and dates."""
        if not good or depth:
            return bool(good)
        shown = certificate.to_cryptography()
        reason = why_no_client(shown) or ("" if self.counts(shown) else "it is revoked")
        if reason:
            log.warn("{name}: a certificate is refused: {reason}", name=self._name, reason=reason)
        return not reason


def why_no_client(certificate: x509.Certificate) -> str:
    """Tell why a certificate is none for clients; empty: it is one. One for servers alone would let any of them in."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return "it does not say that it is for clients (extended key usage clientAuth)"
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        return "it is not for clients (extended key usage clientAuth)"
    return ""


@implementer(IStreamServerEndpoint)
class TLSEndpoint:
    """An endpoint with TLS before it, whose certificates can be read again.

    :param inner: without TLS. :param tls: the server's side. :param reactor: for timers of TLS.
    """

    def __init__(self, inner: IStreamServerEndpoint, tls: ServerTLS, reactor: Any) -> None:
        self._inner = inner
        self._reactor = reactor
        self.tls = tls

    def listen(self, factory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """Take connections over TLS."""
        wrapped = TLSMemoryBIOFactory(self.tls, False, factory, self._reactor)
        listening: Deferred[IListeningPort] = self._inner.listen(wrapped)
        return listening


RELOADABLE = frozenset(("port", "privateKey", "certKey", "interface", "backlog"))
"""The arguments of an ``ssl:`` string that :func:`endpoint_with_tls` knows."""


class ClientCertificates(Struct, frozen=True, kw_only=True):
    """The certificates of clients that a port asks for.

    :ivar ca: those who sign them. :ivar revoked: see :class:`Revoked`; None: there is none.
    :ivar required: a client without one is refused.
    """

    ca: Path
    revoked: Path | None = None
    required: bool = False


def endpoint_with_tls(
    string: str,
    named: dict[str, str],
    make: Callable[[str], IStreamServerEndpoint],
    reactor: Any,
    name: str,
    clients: ClientCertificates | None = None,
) -> TLSEndpoint:
    """Make an endpoint of the arguments of an ``ssl:`` string.

    :param string: the whole, for errors. :param named: its arguments; files with their whole paths.
    :param make: makes an endpoint of a string without TLS. :param name: what the configuration calls it.
    :param clients: the certificates that it asks for; None: it asks for none.
    :raises ValueError: an argument is missing or unknown, or a file cannot be used.
    """
    if not named.keys() <= RELOADABLE or "port" not in named:
        raise ValueError(f"ssl:PORT:privateKey=FILE:certKey=FILE[:interface=ADDRESS][:backlog=N], not {string}")
    key = Path(named["privateKey"])
    certificate = Path(named.get("certKey", str(key)))
    if clients is None:
        tls = ServerTLS(OwnFiles(certificate=certificate, key=key), name=name)
    else:
        files = TLSFiles(certificate=certificate, key=key, ca=clients.ca)
        tls = ServerTLS(files, revoked=clients.revoked, name=name, required=clients.required)
    scheme = "tcp6" if ":" in named.get("interface", "") else "tcp"
    parts = [scheme, named["port"]]
    parts += [f"{one}={named[one]}".replace(":", "\\:") for one in ("interface", "backlog") if one in named]
    return TLSEndpoint(make(":".join(parts)), tls, reactor)
