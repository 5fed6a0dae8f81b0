"""The limit of any downloader: an asyncio loop that downloads and does nothing else."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp


def main(argv: Sequence[str] | None = None) -> None:
    """Download every URL of a file, so many at once, and forget it."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--urls", type=Path, required=True)
    parser.add_argument("--connections", type=int, required=True)
    arguments = parser.parse_args(argv)
    urls = arguments.urls.read_text().split()
    received = asyncio.run(_download(urls, arguments.connections))
    if received != len(urls):
        raise AssertionError(f"{len(urls)} pictures asked for, {received} received")


async def _download(urls: list[str], connections: int) -> int:
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        remaining = iter(urls)
        workers = [_worker(session, remaining) for _ in range(connections)]
        return sum(await asyncio.gather(*workers))


async def _worker(session: aiohttp.ClientSession, urls: Iterator[str]) -> int:
    received = 0
    for url in urls:
        async with session.get(url) as response:
            await response.read()
            received += response.status == 200
    return received
