"""Settings that are of no effect together are refused at the start."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.cli.main import main
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di.settings.build import build_backend, plan_backend
from aiohttp_cache_di.settings.consistency import passed_over


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"ALLOWED_METHODS": "GET,HEAD,POST"}, "AIOHTTP_CACHE_POST_AS_QUERY"),
        ({"ALLOWED_METHODS": "GET,PUT"}, "a response to PUT answers no other request"),
        ({"ALLOWED_METHODS": "GET,PUT,POST", "POST_AS_QUERY": "a.test"}, "a response to PUT answers no other request"),
        ({"URLS_EXPIRE_AFTER": '{"a.test": {"allowed_methods": ["GET", "POST"]}}'}, "'a.test': its allowed_methods"),
    ],
)
def test_methods_that_the_standard_does_not_cache_are_refused_with_the_way_out(
    variables: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")
    for name, value in variables.items():
        monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", value)

    with pytest.raises(ConfigurationError, match="AIOHTTP_CACHE_CACHE_CONTROL=true") as caught:
        build_backend(CacheSettings.load(env_file=None))
    assert told in str(caught.value)
    assert main(["settings"]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "variables",
    [
        {"ALLOWED_METHODS": "GET,HEAD,POST", "CACHE_CONTROL": "false"},
        {"ALLOWED_METHODS": "GET,HEAD,POST", "POST_AS_QUERY": "a.test/search"},
        {"ALLOWED_METHODS": "GET,QUERY"},
        {"URLS_EXPIRE_AFTER": '{"a.test": {"allowed_methods": ["get"]}}'},
        {"ALLOWED_METHODS": "GET,POST", "POST_AS_QUERY": "[]", "CACHE_CONTROL": "false"},
    ],
)
def test_methods_that_are_cached_are_taken(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")
    for name, value in variables.items():
        monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", value)

    assert build_backend(CacheSettings.load(env_file=None)).allowed_methods >= {"GET"}


def test_post_as_query_without_the_standard_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BACKEND": "memory", "CACHE_CONTROL": "false", "POST_AS_QUERY": "a.test"}.items():
        monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", value)

    with pytest.raises(
        ConfigurationError, match=r"^AIOHTTP_CACHE_POST_AS_QUERY: without AIOHTTP_CACHE_CACHE_CONTROL=true"
    ):
        build_backend(CacheSettings.load(env_file=None))


def test_a_variable_of_another_store_is_reported_only_while_no_store_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", "redis://cache.example:6379/0")
    said = (
        "AIOHTTP_CACHE_REDIS__URL is passed over: AIOHTTP_CACHE_BACKEND is not set, and so sqlite; "
        "set AIOHTTP_CACHE_BACKEND=redis"
    )
    assert passed_over(CacheSettings.load()) == said
    plan_backend(CacheSettings.load())
    assert said in caplog.text

    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")
    assert passed_over(CacheSettings.load()) is None
    monkeypatch.delenv("AIOHTTP_CACHE_REDIS__URL")
    monkeypatch.delenv("AIOHTTP_CACHE_BACKEND")
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__TIMEOUT", "5s")
    assert passed_over(CacheSettings.load()) is None
