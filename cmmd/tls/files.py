"""Certificates and keys in files (PEM), and a client's side of TLS made of them."""

import stat
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct
from OpenSSL import crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    KeyPair,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)

__all__ = ["LOWEST", "Own", "OwnFiles", "TLSFiles", "TLSFilesError", "client_options", "load_own", "load_trusted"]

LOWEST = TLSVersion.TLSv1_2


class TLSFilesError(ValueError):
    """Certificates that cannot be used; one line that names the file."""


class OwnFiles(Struct, frozen=True):
    """The own certificate and key of one side, PEM.

    :ivar certificate: its own, followed by those between it and the root, if any.
    :ivar key: the private key to it, without a passphrase.
    """

    certificate: Path
    key: Path


class TLSFiles(OwnFiles, frozen=True):
    """The own certificate and key of one side and the CAs that it trusts, all PEM.

    :ivar ca: those who sign the other side's certificates.
    """

    ca: Path


class Own(Struct, frozen=True):
    """The own certificate and key of one side, read.

    :ivar certificate: its own.
    :ivar between: those between it and the root.
    :ivar key: the private key to it.
    """

    certificate: Certificate
    between: list[crypto.X509]
    key: crypto.PKey


def load_own(files: OwnFiles) -> Own:
    """Read a certificate with its chain and key.

    :raises TLSFilesError: that is not what is there.
    """
    own, *between = _certificates(files.certificate)
    key = _private_key(files.key)
    if key.public_key() != own.public_key():
        raise TLSFilesError(f"{files.key}: not the key to {files.certificate}")
    return Own(
        Certificate(crypto.X509.from_cryptography(own)),
        [crypto.X509.from_cryptography(one) for one in between],
        crypto.PKey.from_cryptography_key(key),
    )


def load_trusted(ca: Path) -> list[Certificate]:
    """Read the certificates of those who sign the other side's.

    :raises TLSFilesError: that is not what is there.
    """
    return [Certificate(crypto.X509.from_cryptography(one)) for one in _certificates(ca)]


def client_options(name: str, ca: Path | None, own: OwnFiles | None) -> IOpenSSLClientConnectionCreator:
    """A client's side of TLS: 1.2 or later, the server's certificate checked. The files are read now.

    :param name: what the server's certificate has to be for: a host name or an IP address.
    :param ca: those who may have signed it; None: those that the system trusts.
    :param own: what is shown to the server; None: nothing.
    :raises TLSFilesError: a file cannot be used.
    """
    trusted = None if ca is None else trustRootFromCertificates(load_trusted(ca))
    shown: PrivateCertificate | None = None
    extra: dict[str, Any] = {"raiseMinimumTo": LOWEST}
    if own is not None:
        loaded = load_own(own)
        shown = PrivateCertificate.fromCertificateAndKeyPair(loaded.certificate, KeyPair(loaded.key))
        extra["extraCertChain"] = loaded.between
    return optionsForClientTLS(name, trustRoot=trusted, clientCertificate=shown, extraCertificateOptions=extra)


def _private_key(path: Path) -> Any:
    text = _read(path)
    if path.stat().st_mode & stat.S_IRWXO:
        raise TLSFilesError(f"{path}: every user of this machine can open this key: chmod o= {path}")
    try:
        return load_pem_private_key(text, password=None)
    except TypeError:
        raise TLSFilesError(f"{path}: needs a passphrase, which a daemon cannot ask for") from None
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
