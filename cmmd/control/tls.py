"""Who may come in over a network: certificates, on both sides, against the owner's own CA."""

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    KeyPair,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from zope.interface import implementer

from cmmd.control.peers import why

__all__ = ["ServerTLS", "TLSFiles", "TLSFilesError", "client_options"]

log = Logger()

LOWEST = TLSVersion.TLSv1_2


class TLSFilesError(ValueError):
    """Certificates that cannot be used; one line that names the file."""


class TLSFiles(Struct, frozen=True):
    """What one side shows and whom it trusts, all PEM.

    :ivar certificate: its own, followed by those between it and the root, if any.
    :ivar key: the private key to it, without a passphrase.
    :ivar ca: those who sign the other side's certificates.
    """

    certificate: Path
    key: Path
    ca: Path


class _Loaded(Struct, frozen=True):
    own: Certificate
    between: list[crypto.X509]
    key: crypto.PKey
    trusted: list[Certificate]


def _load(files: TLSFiles) -> _Loaded:
    own, *between = _certificates(files.certificate)
    key = _private_key(files.key)
    if key.public_key() != own.public_key():
        raise TLSFilesError(f"{files.key}: not the key to {files.certificate}")
    return _Loaded(
        Certificate(crypto.X509.from_cryptography(own)),
        [crypto.X509.from_cryptography(one) for one in between],
        crypto.PKey.from_cryptography_key(key),
        [Certificate(crypto.X509.from_cryptography(one)) for one in _certificates(files.ca)],
    )


def _private_key(path: Path) -> Any:
    text = _read(path)
    try:
        return load_pem_private_key(text, password=None)
    except TypeError:
        raise TLSFilesError(f"{path}: needs a passphrase, and nobody is there to give it") from None
    except Exception:  # of many kinds
        raise TLSFilesError(f"{path}: no private key in PEM") from None


def _certificates(path: Path) -> list[x509.Certificate]:
    text = _read(path)
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        raise TLSFilesError(f"{path}: no certificate in PEM") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TLSFilesError(f"{path}: {error.strerror}") from None


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The daemon's side of TLS: TLS 1.2 or later, and nobody without a certificate of the owner's CA.

    :param files: read now.
    :raises TLSFilesError: see there.
    """

    def __init__(self, files: TLSFiles) -> None:
        self._files = files
        self._options = _server_options(files)

    def reload(self) -> bool:
        """Read the files again, for connections that come from now on; those that stand go on.

        :return: whether they can be used. If not, all is as it was, and the log says why.
        """
        try:
            self._options = _server_options(self._files)
        except TLSFilesError as error:
            log.error("control.tls: {error}; the certificates from before stay in use", error=str(error))
            return False
        log.info("control.tls: certificates read again from {file}", file=str(self._files.certificate))
        return True

    def serverConnectionForTLS(self, _: object) -> SSL.Connection:
        """The TLS side of a new connection."""
        return SSL.Connection(self._options.getContext(), None)


def _server_options(files: TLSFiles) -> CertificateOptions:
    loaded = _load(files)
    try:
        options = CertificateOptions(
            privateKey=loaded.key,
            certificate=loaded.own.original,
            extraCertChain=loaded.between,
            trustRoot=trustRootFromCertificates(loaded.trusted),
            raiseMinimumTo=LOWEST,
        )
        options.getContext()
    except SSL.Error as error:
        raise TLSFilesError(f"{files.certificate}: {why(error)}") from None
    return options


def client_options(files: TLSFiles, name: str) -> IOpenSSLClientConnectionCreator:
    """A program's side of TLS.

    :param name: what the server's certificate has to be for: a host name or an IP address.
    :raises TLSFilesError: see there.
    """
    loaded = _load(files)
    return optionsForClientTLS(
        name,
        trustRoot=trustRootFromCertificates(loaded.trusted),
        clientCertificate=PrivateCertificate.fromCertificateAndKeyPair(loaded.own, KeyPair(loaded.key)),
        extraCertificateOptions={"extraCertChain": loaded.between, "raiseMinimumTo": LOWEST},
    )
