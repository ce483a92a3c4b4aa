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
