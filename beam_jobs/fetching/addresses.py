"""Which addresses a fetch may go to: http and https, and no network but the public one.

A catalogue's URLs come from outside, and so does every redirect; neither may make a
worker talk to its own machine, its neighbours or a cloud's metadata service. Names are
judged by what they resolve to, and the connection is made to that very address.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Iterable

import aiohttp.abc
from aiohttp import ThreadedResolver
from yarl import URL

from tfrecords_schema.errors import InputError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_SCHEMES = ("http", "https")
# Networks whose last 32 bits are an IPv4 address behind a gateway (RFC 6052, RFC 8215).
_NAT64 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48")))
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
# Which `is_global` takes for public: relays of 6to4, which lead into whatever network
# stands behind the nearest one (RFC 7526).
_RELAYS = ipaddress.IPv4Network("192.88.99.0/24")


class AddressRefusedError(OSError):
    """The address is not on the public network, nor allowed by name."""


def parse_url(text: str) -> URL | None:
    """An http or https URL with a host, or None where the text is none."""
    try:
        url = URL(text)
        if url.scheme not in _SCHEMES or not url.host or url.port is None:
            return None
    except ValueError:
        return None
    return (
        url.with_user(None).with_fragment(None) if "@" in text or "#" in text else url
    )


def authority(url: URL) -> str:
    """The host as others know it: its name, and its port unless that is the default."""
    host = bracketed(str(url.raw_host)).lower()
    return host if url.is_default_port() else f"{host}:{url.port}"


def bracketed(host: str) -> str:
    """A host as it is written before a port."""
    return f"[{host}]" if ":" in host else host


def is_public(address: IPAddress) -> bool:
    """Whether an address, and any IPv4 address inside it, is on the public network."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:  # deprecated, not forgotten; `is_global` says yes
            return False
    return (
        address.is_global
        and address not in _RELAYS
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
    )


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    is_wrapped = any(address in network for network in (*_NAT64, _IPV4_COMPATIBLE))
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if is_wrapped else None


@functools.lru_cache(maxsize=4096)
def is_refused_literal(host: str) -> bool:
    """Whether a host is written as an address that is not public."""
    address = literal(host)
    return address is not None and not is_public(address)


def literal(host: str) -> IPAddress | None:
    """The address that a host is written as, or None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


class AllowList:
    """Hosts that the operator named, which may be anywhere."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        """Set the hosts.

        Args:
            hosts: `host` for all its ports, or `host:port`.
        """
        self._hosts = frozenset(host.lower() for host in hosts)

    def allows(self, host: str, port: int) -> bool:
        """Whether a host is on the list, with this port or with any."""
        name = bracketed(host).lower()
        return bool(self._hosts & {name, f"{name}:{port}"})

    def refuses(self, url: URL) -> str | None:
        """Why a URL is not to be asked before any name is resolved, or None."""
        host, port = str(url.raw_host), int(url.port or 0)
        if not is_refused_literal(host) or self.allows(host, port):
            return None
        return f"{host} is not a public address; see --allow_hosts"


def parse_allow_hosts(text: str) -> tuple[str, ...]:
    """The value of `--allow_hosts`: a comma list of host or host:port.

    Raises:
        InputError: an entry is neither.
    """
    hosts = tuple(entry.strip() for entry in text.split(",") if entry.strip())
    for host in hosts:
        url = parse_url(f"http://{host}")
        if url is None or url.path != "/" or url.query_string or "@" in host:
            raise InputError(f"--allow_hosts {host!r} is not a host or host:port")
    return hosts


class PublicResolver(aiohttp.abc.AbstractResolver):
    """Resolves names, leaving out what is not public; connections go to what is left.

    As the address that was judged is the address connected to, a name that resolves
    differently the next moment gains nothing.
    """

    def __init__(
        self,
        allowed: AllowList,
        resolver: aiohttp.abc.AbstractResolver | None = None,
    ) -> None:
        """Set the allow list and who asks the name servers."""
        self._allowed = allowed
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,
    ) -> list[aiohttp.abc.ResolveResult]:
        """Resolve a name.

        Raises:
            AddressRefusedError: it has addresses, and none is public.
            OSError: it has none.
        """
        found = await self._resolver.resolve(host, port, family)
        if self._allowed.allows(host, port):
            return found
        public = [
            result
            for result in found
            if (address := literal(result["host"])) is not None and is_public(address)
        ]
        if found and not public:
            raise AddressRefusedError(
                f"{host} resolves to {found[0]['host']}, which is not a public "
                "address; see --allow_hosts"
            )
        return public

    async def close(self) -> None:
        """Close the resolver."""
        await self._resolver.close()
