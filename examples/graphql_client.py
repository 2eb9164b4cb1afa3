"""A GraphQL client whose queries are cached, and whose mutations are not.

    python -m examples.graphql_client https://countries.example/graphql '{ countries { name } }'

GraphQL sends both as POST to one URL. ``post_as_query`` says that a POST to it only reads, so that its body becomes
part of the key. A mutation says ``no-store``, and then deletes the stored results of queries.
"""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientError

from aiohttp_cache_di import CacheBackend, CachedSession, SQLiteBackend


class GraphQLError(Exception):
    """The errors that the server reports."""


class GraphQL:
    """A client of one endpoint. Use it as ``async with GraphQL(url) as client``."""

    def __init__(self, url: str, cache: CacheBackend | None = None) -> None:
        self.url = url
        options: dict[str, Any] = {"cache_control": True, "expire_after": "5m", "post_as_query": [url]}
        self._session = CachedSession(cache=cache or SQLiteBackend("graphql", **options))

    async def query(self, query: str, **variables: object) -> Any:
        """Run a query; an equal one with equal variables is answered from the cache for five minutes."""
        return await self._send(query, variables, {})

    async def mutate(self, mutation: str, **variables: object) -> Any:
        """Change something: never from the cache, never stored; stored results of queries are deleted."""
        data = await self._send(mutation, variables, {"Cache-Control": "no-store"})
        await self._session.cache.purge(url=self.url)
        return data

    async def _send(self, text: str, variables: dict[str, object], headers: dict[str, str]) -> Any:
        body = {"query": text, "variables": variables}
        async with self._session.post(self.url, json=body, headers=headers, raise_for_status=True) as response:
            answer = await response.json()
        if answer.get("errors"):
            raise GraphQLError("; ".join(error["message"] for error in answer["errors"]))
        return answer["data"]

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._session.close()


async def main(url: str, query: str) -> None:
    """Run a query twice; the second time without a request."""
    async with GraphQL(url) as client:
        for _ in range(2):
            print(await client.query(query))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m examples.graphql_client URL QUERY")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (ClientError, GraphQLError, TimeoutError) as failure:
        sys.exit(f"{type(failure).__name__}: {failure}")
