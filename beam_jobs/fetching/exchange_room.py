"""Room for exchanges: what all hosts of a lane share."""

from __future__ import annotations

import asyncio


class ExchangeRoom:
    """Connections, and memory for the bodies that come over them.

    An exchange takes both with `acquire`. The connection is given back as soon as the
    answer is there, the memory when nobody needs the body any more; `release` gives
    both back at once, for an exchange that came to nothing.
    """

    def __init__(self, *, connections: int, bodies: int) -> None:
        """Set how many there may be at once."""
        self._connections = asyncio.Semaphore(connections)
        self._bodies = asyncio.Semaphore(bodies)

    async def acquire(self) -> None:
        """Wait for both."""
        await self._bodies.acquire()
        try:
            await self._connections.acquire()
        except BaseException:
            self._bodies.release()
            raise

    def release(self) -> None:
        """Give both back."""
        self.release_connection()
        self.release_body()

    def release_connection(self) -> None:
        """Give the connection back."""
        self._connections.release()

    def release_body(self) -> None:
        """Give the memory back."""
        self._bodies.release()
