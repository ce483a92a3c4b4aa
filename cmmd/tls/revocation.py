"""Certificates that count no more: a list that is read again whenever it changes."""

import re
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from twisted.logger import Logger

from cmmd.tls.files import TLSFilesError

__all__ = ["Revoked"]

log = Logger()

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class Revoked:
    """Revoked certificates, read from a file: CRLs in PEM, or SHA-256 fingerprints, one a line, ``#`` for comments.

    :param path: the file. :param authorities: the certificates of the CA, which have to have signed a CRL.
    :raises TLSFilesError: the file cannot be read, or is neither.
    """

    def __init__(self, path: Path, authorities: list[x509.Certificate]) -> None:
        self._path = path
        self._authorities = authorities
        self._seen: tuple[int, ...] = ()
        self._serials: frozenset[tuple[bytes, int]] = frozenset()
        self._fingerprints: frozenset[str] = frozenset()
        self._read()

    def has(self, certificate: x509.Certificate) -> bool:
        """Tell whether a certificate is revoked. What the file said before counts while it cannot be read."""
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
        serials: set[tuple[bytes, int]] = set()
        for pem in _CRL.findall(text):
            serials |= self._serials_of(pem)
        fingerprints: set[str] = set()
        for line in _CRL.sub(b"", text).decode("utf-8", "replace").splitlines():
            said = line.partition("#")[0].strip().replace(":", "").lower()
            if said and not _FINGERPRINT.fullmatch(said):
                raise TLSFilesError(f"{self._path}: {said[:20]!r} is neither a SHA-256 fingerprint nor part of a CRL")
            fingerprints |= {said} - {""}
        self._seen, self._serials, self._fingerprints = seen, frozenset(serials), frozenset(fingerprints)

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
