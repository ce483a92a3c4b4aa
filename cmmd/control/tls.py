"""Who may come in over a network: certificates, on both sides, against the owner's own CA."""

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, trustRootFromCertificates
from twisted.logger import Logger
from zope.interface import implementer

from cmmd.tls.files import LOWEST, TLSFiles, TLSFilesError, load_own, load_trusted
from cmmd.tls.reasons import why

__all__ = ["ServerTLS"]

log = Logger()


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
    own, trusted = load_own(files), load_trusted(files.ca)
    try:
        options = CertificateOptions(
            privateKey=own.key,
            certificate=own.certificate.original,
            extraCertChain=own.between,
            trustRoot=trustRootFromCertificates(trusted),
            raiseMinimumTo=LOWEST,
        )
        options.getContext()
    except SSL.Error as error:
        raise TLSFilesError(f"{files.certificate}: {why(error)}") from None
    return options
