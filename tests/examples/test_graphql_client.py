"""Queries are cached by their body, mutations are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aiohttp_cache_di import SQLiteBackend
from examples.graphql_client import GraphQL, GraphQLError, main


class Server:
    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.names = {"1": "Ada"}

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        text, variables = body["query"], body["variables"]
        self.asked.append((text, variables))
        if text == "broken":
            return web.json_response({"errors": [{"message": "no such field"}]})
        if text.startswith("mutation"):
            self.names[variables["id"]] = variables["name"]
        return web.json_response({"data": self.names[variables.get("id", "1")]})

    def server(self) -> TestServer:
        app = web.Application()
        app.router.add_post("/graphql", self.answer)
        return TestServer(app)


def cached(url: str) -> SQLiteBackend:
    return SQLiteBackend("graphql", use_temp=True, cache_control=True, expire_after="5m", post_as_query=[url])


async def test_queries_are_asked_once_until_a_mutation() -> None:
    graphql = Server()
    async with graphql.server() as server:
        url = str(server.make_url("/graphql"))
        async with GraphQL(url, cached(url)) as client:
            assert [await client.query("query", id="1") for _ in range(2)] == ["Ada", "Ada"]
            graphql.names["2"] = "Bob"
            assert await client.query("query", id="2") == "Bob"
            assert len(graphql.asked) == 2
            for _ in range(2):
                assert await client.mutate("mutation", id="1", name="Eve") == "Eve"
            assert await client.query("query", id="1") == "Eve"
    assert len(graphql.asked) == 5


async def test_errors_of_the_server_are_raised() -> None:
    graphql = Server()
    async with graphql.server() as server:
        url = str(server.make_url("/graphql"))
        async with GraphQL(url, cached(url)) as client:
            with pytest.raises(GraphQLError, match="no such field"):
                await client.query("broken")


async def test_the_script_asks_twice_and_fetches_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where its file goes
    graphql = Server()
    async with graphql.server() as server:
        await main(str(server.make_url("/graphql")), "query")
    assert capsys.readouterr().out == "Ada\nAda\n"
    assert len(graphql.asked) == 1
