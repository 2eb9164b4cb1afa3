"""A relay in front of DynamoDB that records calls, and answers as a throttled table or one with limited permissions."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp import web

__all__ = ["Call", "Relay"]


class Call(NamedTuple):
    """A recorded call."""

    operation: str
    names: list[str]
    is_consistent: bool


class Relay:
    """Passes requests on to *target*.

    Args:
        target: the endpoint.
    """

    def __init__(self, target: str) -> None:
        self.asked: list[Call] = []
        self.leaves = 0.0
        """The share of a batch that is left unprocessed."""
        self.refuses = ""
        """Batches with this name in them are refused."""
        self.unknown: frozenset[str] = frozenset()
        """Operations that this server does not have."""
        self.forbidden: frozenset[str] = frozenset()
        """Operations that we may not ask for."""
        self.holds = ""
        """An operation that waits for `released`."""
        self.holding = asyncio.Event()
        """Set when one waits."""
        self.released = asyncio.Event()
        self.tells = True
        """Whether what was there comes with the answer, and with the error where it has failed a condition."""
        self.lags = False
        """Whether a read of one item that is not consistent is from a replica that has not heard of it yet."""
        self.url = ""
        self._target = target
        self._client: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.router.add_post("/", self._answer)
        self._client = aiohttp.ClientSession()
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._client is not None
        assert self._runner is not None
        await self._runner.cleanup()
        await self._client.close()

    async def _answer(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        asked = json.loads(await request.read())
        left: dict[str, Any] = {}
        if operation == self.holds:
            self.holding.set()
            await self.released.wait()
        if operation in self.unknown:
            return web.json_response({"__type": "UnknownOperationException", "message": "no"}, status=400)
        if operation in self.forbidden:
            return web.json_response({"__type": "AccessDeniedException", "message": "no"}, status=400)
        if operation in ("BatchGetItem", "BatchWriteItem"):
            ((table, wanted),) = asked["RequestItems"].items()
            each: list[Any] = wanted["Keys"] if operation == "BatchGetItem" else wanted
            names = [_name(one) for one in each]
            self.asked.append(Call(operation, names, operation == "BatchGetItem" and wanted["ConsistentRead"]))
            if self.refuses in names:
                return web.json_response({"__type": "AccessDeniedException", "message": "no"}, status=400)
            done = len(each) - int(len(each) * self.leaves)
            if done < len(each):
                rest = each[done:]
                left = {table: {"Keys": rest} if operation == "BatchGetItem" else rest}
            del each[done:]
        elif operation == "GetItem":
            self.asked.append(Call(operation, [str(asked["Key"]["k"]["S"])], asked["ConsistentRead"]))
            if self.lags and not asked["ConsistentRead"]:
                return web.json_response({})
        else:
            self.asked.append(Call(operation, [], False))
        if not self.tells:
            asked.pop("ReturnValuesOnConditionCheckFailure", None)
            asked.pop("ReturnValues", None)
        answer = await self._pass_on(request, asked)
        if left:
            answer["UnprocessedKeys" if operation == "BatchGetItem" else "UnprocessedItems"] = left
        return web.json_response(answer, status=answer.pop("status", 200))

    async def _pass_on(self, request: web.Request, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._client is not None
        if asked.get("RequestItems") and not any(map(len, asked["RequestItems"].values())):
            return {"Responses": {}}
        for wanted in asked.get("RequestItems", {}).values():
            if isinstance(wanted, dict) and not wanted["Keys"]:
                return {"Responses": {}}
        headers = {
            name: request.headers[name] for name in ("X-Amz-Target", "X-Amz-Date", "Content-Type", "Authorization")
        }
        async with self._client.post(self._target, data=json.dumps(asked).encode(), headers=headers) as response:
            answer: dict[str, Any] = json.loads(await response.read())
            return answer if response.status == 200 else {**answer, "status": response.status}


def _name(request: dict[str, Any]) -> str:
    """The hash key of the item in *request*."""
    if "PutRequest" in request:
        request = request["PutRequest"]["Item"]
    elif "DeleteRequest" in request:
        request = request["DeleteRequest"]["Key"]
    return str(request["k"]["S"])
