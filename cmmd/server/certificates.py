"""The hostids that a client certificate at the ports of devices is for."""

from typing import Any

from cryptography.x509 import DNSName, ExtensionNotFound, SubjectAlternativeName
from cryptography.x509.oid import NameOID
from twisted.internet.interfaces import ISSLTransport

from cmmd.wire.errors import MessageError, Reason
from cmmd.wire.retcodes import Retcode

__all__ = ["is_certified"]


def is_certified(transport: Any, method: str, hostid: str) -> bool:
    """Tell whether the other end of a connection has shown a certificate of a device.

    :param method: the method of the answer.
    :return: False: it has shown none.
    :raises MessageError: it has shown the certificate of another device.
    """
    hostids = _certified_hostids(transport)
    if hostids is None:
        return False
    if hostid not in hostids:
        raise MessageError(
            "the certificate is not for this hostid",
            method=method,
            reason=Reason.FOREIGN_CERTIFICATE,
            retcode=Retcode.UNKNOWN_DEVICE,
            said=hostid,
        )
    return True


def _certified_hostids(transport: Any) -> frozenset[str] | None:
    """Give the hostids for which the other end of a connection has shown a certificate: its common name and DNS names.

    The certificate itself has been checked when it was shown: signature, dates, purpose, revocation.

    :return: None: there is no TLS, or none was shown.
    """
    if not ISSLTransport.providedBy(transport):
        return None
    shown: Any = transport.getPeerCertificate()
    if shown is None:
        return None
    certificate = shown.to_cryptography()
    names = {str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    try:
        others = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except (ExtensionNotFound, ValueError):
        return frozenset(names)
    return frozenset(names.union(others.get_values_for_type(DNSName)))
