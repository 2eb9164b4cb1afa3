"""The gateway: tenants are apart although their requests carry the same credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from fastapi.testclient import TestClient

from examples import gateway
from tests.integrations.origin import Origin, running_origin

RED, BLUE = {"X-API-Key": "key-of-red"}, {"X-API-Key": "key-of-blue"}


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Origin]:
    async def answer(origin: Origin, request: web.Request) -> web.Response:
        origin.hits += 1
        whom = request.headers.get("X-On-Behalf-Of", "all")
        return web.Response(text=f"{request.path} for {whom}", headers={"Cache-Control": "max-age=60"})

    monkeypatch.setattr(Origin, "answer", answer)
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(tmp_path / "gateway.sqlite"))
    with running_origin() as origin:
        monkeypatch.setattr(gateway, "UPSTREAM", origin.url)
        yield origin


def test_each_tenant_is_given_what_is_its_own(upstream: Origin) -> None:
    with TestClient(gateway.make_app()) as client:
        for _ in range(2):
            assert client.get("/orders/1", headers=RED).text == "/orders/1 for red"
            assert client.get("/orders/1", headers=BLUE).text == "/orders/1 for blue"
    assert upstream.hits == 2


def test_a_new_token_finds_what_the_last_one_brought(upstream: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(gateway.make_app()) as client:
        for token in ("of-one-hour", "of-the-next"):
            monkeypatch.setenv("UPSTREAM_TOKEN", token)
            cached = client.get("/orders/1", headers=RED).headers["Cache-Status"]
    assert "hit" in cached
    assert upstream.hits == 1


def test_what_is_public_is_fetched_once_for_all(upstream: Origin) -> None:
    with TestClient(gateway.make_app()) as client:
        assert [client.get("/countries", headers=key).text for key in (RED, BLUE)] == ["/countries for all"] * 2
        assert client.get("/countries", headers={"X-API-Key": "of no one"}).status_code == 401
    assert upstream.hits == 1


def test_an_upstream_that_is_dead_is_a_bad_gateway_and_types_are_passed_on(
    upstream: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(gateway.make_app()) as client:
        assert client.get("/orders/1", headers=RED).headers["Content-Type"] == "text/plain; charset=utf-8"
        monkeypatch.setattr(gateway, "UPSTREAM", "http://127.0.0.1:1")  # no one listens there
        dead = client.get("/orders/1", headers=RED)
    assert (dead.status_code, dead.json()["detail"]) == (502, "the upstream cannot be asked: ClientConnectorError")
    assert upstream.hits == 1
