"""Where a fetch may go."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resolving import FakeResolver
from yarl import URL

from beam_jobs.fetching.addresses import (
    AddressRefusedError,
    AllowList,
    PublicResolver,
    authority,
    is_public,
    parse_allow_hosts,
    parse_url,
)
from tfrecords_schema.errors import InputError

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fe80::1",
    "ff02::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "192.88.99.1",
    "::ffff:192.88.99.255",
    "2002:c058:6301::1",
    "fec0::1",
    "feff:ffff::1",
]
PUBLIC = [
    *("8.8.8.8", "151.101.0.84", "2606:4700::1111", "64:ff9b::8.8.8.8"),
    *("192.88.98.255", "192.88.100.1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    shown = f"[{address}]" if ":" in address else address
    assert AllowList().refuses(URL(f"http://{shown}/x"))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_not_refused(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4, network="10.0.0.0/8"))
def test_private_address_inside_another_is_refused(
    address: ipaddress.IPv4Address,
) -> None:
    number = int(address)
    for wrapped in (
        0xFFFF << 32 | number,
        number,
        0x2002 << 112 | number << 80,
        0x64FF9B << 96 | number,
        0x64FF9B0001 << 80 | number,
    ):
        assert not is_public(ipaddress.IPv6Address(wrapped))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://Host.COM/a", "host.com"),
        ("http://host.com:80/a", "host.com"),
        ("https://host.com:443/a", "host.com"),
        ("http://host.com:443/a", "host.com:443"),
        ("http://[2606:4700::1111]:8080/a", "[2606:4700::1111]:8080"),
        ("http://user:secret@host.com/a", "host.com"),
        ("http://bücher.example/a", "xn--bcher-kva.example"),
    ],
)
def test_authority_names_the_host_as_others_know_it(text: str, expected: str) -> None:
    url = parse_url(text)

    assert url is not None
    assert authority(url) == expected
    assert url.user is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "nothing", "ftp://host/x", "file:///etc/passwd", "http://", "//host/x"),
        *("http://[::1", "http://h:x/", "http://h:99999/", "javascript:alert(1)"),
    ],
)
def test_what_is_no_http_url_is_none(text: str) -> None:
    assert parse_url(text) is None


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_none(text: str) -> None:
    for candidate in (text, f"http://{text}", f"http://host/{text}"):
        url = parse_url(candidate)
        assert url is None or url.scheme in ("http", "https")


@pytest.mark.parametrize(
    ("entries", "host", "port", "expected"),
    [
        (["localhost"], "localhost", 8080, True),
        (["LOCALHOST:8080"], "localhost", 8080, True),
        (["localhost:8080"], "localhost", 8081, False),
        (["10.0.0.1"], "10.0.0.1", 80, True),
        (["10.0.0.1"], "10.0.0.10", 80, False),
        (["[::1]:80"], "::1", 80, True),
        (["[::1]"], "::1", 81, True),
        ([], "localhost", 80, False),
        (["host"], "sub.host", 80, False),
    ],
)
def test_allow_list_holds_hosts_with_all_ports_or_one(
    entries: list[str], host: str, port: int, expected: bool
) -> None:
    assert AllowList(entries).allows(host, port) is expected


def test_allow_hosts_is_a_comma_list() -> None:
    hosts = parse_allow_hosts(" localhost, 10.0.0.1:8080 ,[::1]:80,")

    assert hosts == ("localhost", "10.0.0.1:8080", "[::1]:80")
    assert parse_allow_hosts("") == ()


@pytest.mark.parametrize("text", ["http://host", "host/path", "a b:c", "u@h", "h:x"])
def test_allow_hosts_with_something_else_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError, match="--allow_hosts"):
        parse_allow_hosts(f"fine,{text}")


def resolve(found: list[str], *allowed: str) -> list[str]:
    resolver = PublicResolver(AllowList(allowed), FakeResolver({"host": found}))
    results = asyncio.run(resolver.resolve("host", 80, socket.AF_UNSPEC))
    return [result["host"] for result in results]


def test_name_of_a_private_address_is_refused() -> None:
    with pytest.raises(AddressRefusedError, match=r"host resolves to 127\.0\.0\.1"):
        resolve(["127.0.0.1", "::1"])


def test_private_addresses_are_left_out_of_mixed_ones() -> None:
    assert resolve(["10.0.0.1", "8.8.8.8", "fe80::1%eth0"]) == ["8.8.8.8"]


def test_allowed_name_may_be_anywhere() -> None:
    assert resolve(["127.0.0.1"], "host:80") == ["127.0.0.1"]


def test_name_without_an_address_is_no_refusal() -> None:
    with pytest.raises(OSError, match="no such name"):
        resolve([])
