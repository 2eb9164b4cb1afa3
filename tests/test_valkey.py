"""The Valkey server that other tests use."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.valkey import ValkeyServer


def test_the_server_comes_back_under_its_address_after_a_kill(own_valkey: ValkeyServer) -> None:
    url = own_valkey.url
    own_valkey.command("SET", "k", "v")
    own_valkey.restart(kill=True)
    assert own_valkey.url == url
    assert own_valkey.command("GET", "k") is None


def test_a_paused_server_answers_only_after_resume(own_valkey: ValkeyServer) -> None:
    own_valkey.pause()
    with own_valkey.client(socket_timeout=0.05, retry=None) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    own_valkey.resume()
    assert own_valkey.command("PING")


def test_the_server_listens_on_a_unix_socket_with_a_password(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, unix=True, config={"requirepass": "secret"}) as server:
        assert server.url.startswith("unix://")
        assert server.command("PING")
    assert server.process is None
