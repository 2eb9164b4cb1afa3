"""A connection on top of the driver's, if its stream cannot be taken over: that of a fake, or of a later driver."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

from aiohttp_cache_di._redis import error_named
from aiohttp_cache_di.backends.redis.connections.connection import REFUSALS, Connection
from aiohttp_cache_di.backends.redis.connections.wire import Reply, ServerError
from aiohttp_cache_di.errors import StorageError

__all__ = ["DrivenConnection"]

OF_CLUSTERS: Final = {
    "AskError": "ASK",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "TryAgainError": "TRYAGAIN",
}
"""The error codes for the driver's exceptions that concern clusters."""


class DrivenConnection(Connection):
    """Sends and receives by the methods of a connection of the driver; slower, and without pushes.

    Args:
        where: the name of the server in messages.
        connection: the driver's open connection, which nothing else uses.
    """

    can_push: ClassVar[bool] = False
    is_bounded: ClassVar[bool] = False

    def __init__(self, where: str, connection: Any) -> None:
        super().__init__(where, None)  # the driver has its own timeout
        self._connection = connection
        self._refusal = error_named("ResponseError")
        self._unsent: list[bytes] = []
        self._work = asyncio.Event()
        self._pump = self.loop.create_task(self._run())
        self._pump.add_done_callback(self._ended)

    def send(self, data: bytes) -> None:
        """Queue *data* for the task that sends it."""
        self._unsent.append(data)
        self._work.set()

    def give_up(self) -> None:
        """Cancel the task, which closes the connection."""
        self._pump.cancel()

    async def _run(self) -> None:
        try:
            while not self.closed:
                await self._work.wait()
                self._work.clear()
                while self._unsent or self.is_busy:
                    if self._unsent:
                        unsent, self._unsent = self._unsent, []
                        await self._connection.send_packed_command(unsent, check_health=False)
                    if self.is_busy:
                        self.replied([await self._reply()])
        finally:
            await self._connection.disconnect(nowait=True)

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response(disable_decoding=True)
        except self._refusal as exc:
            name = type(exc).__name__
            if name in OF_CLUSTERS:  # the exception's text is the reply without its code
                return ServerError(OF_CLUSTERS[name], f"{OF_CLUSTERS[name]} {exc}")
            codes = [code for code, each in REFUSALS.items() if each == name]
            return ServerError(codes[0] if codes else str(exc).partition(" ")[0], str(exc))

    def _ended(self, pump: asyncio.Task[None]) -> None:
        error = None if pump.cancelled() else pump.exception()
        self.connection_lost(error if isinstance(error, Exception) else StorageError("closed"))
