"""TLS towards upstreams: one context for all of them, each host's name verified.

Reading the system's roots costs 10 ms and a megabyte, so there is one context, and what
belongs to a host is set on each connection.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from attrs import frozen
from OpenSSL import SSL, crypto
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from knight_tw.addresses import is_address
from knight_tw.protocols.transport import EagerTLS

_ALWAYS = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT

Verify = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]


class ClientTLS:
    """Puts TLS in front of protocols."""

    def __init__(
        self, clock: IReactorTime, *, insecure: bool = False, trust_root: Any = None
    ) -> None:
        """Certificates are checked against `trust_root` (as `CertificateOptions` takes
        it), else against the system's roots; with `insecure` not at all."""
        self._clock = clock
        self._verified = not insecure
        self._trust_root = trust_root
        self._context: SSL.Context | None = None

    def secured(self, host: str, protocol: IProtocol) -> IProtocol:
        """`protocol` behind TLS with `host`, a name in ASCII or an address."""
        creator = _ToHost(self._shared(), host, self._verified)
        factory = _EagerTLSFactory(creator, True, Once(protocol), self._clock)
        made: IProtocol = factory.buildProtocol(None)
        return made

    def _shared(self) -> SSL.Context:
        if self._context is None:
            if self._verified:
                trust = self._trust_root or platformTrust()  # type: ignore[no-untyped-call]
                options = CertificateOptions(trustRoot=trust)
            else:
                options = CertificateOptions(verify=False)
            self._context = options.getContext()
        return self._context


class Once(Factory):
    """A factory of one protocol that exists already."""

    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """The protocol."""
        return self._protocol


class _EagerTLSFactory(TLSMemoryBIOFactory):
    protocol = EagerTLS


@implementer(IOpenSSLClientConnectionCreator)
@frozen(eq=False)
class _ToHost:
    """Makes connections' TLS states."""

    _context: SSL.Context
    _host: str
    _verified: bool

    def clientConnectionForTLS(
        self, tlsProtocol: TLSMemoryBIOProtocol
    ) -> SSL.Connection:
        """A connection that will believe nobody but the host."""
        connection = SSL.Connection(self._context, None)
        if not is_address(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        if self._verified:
            connection.set_verify(_ALWAYS, _names(self._host, tlsProtocol))
        connection.set_connect_state()
        return connection


def _names(host: str, tls: TLSMemoryBIOProtocol) -> Verify:
    """A verification: the chain is good, and its certificate names the host."""
    protocol = weakref.ref(tls)

    def verify(
        _: SSL.Connection, certificate: crypto.X509, error: int, depth: int, good: int
    ) -> bool:
        if depth or not good:
            return bool(good)
        try:
            plain = certificate.to_cryptography()
            if is_address(host):
                verify_certificate_ip_address(plain, host)
            else:
                verify_certificate_hostname(plain, host)
        except Exception:  # noqa: BLE001 - OpenSSL swallows what passes here
            told = protocol()
            if told is not None:
                told.failVerification(Failure())  # type: ignore[no-untyped-call]
            return False
        return True

    return verify
