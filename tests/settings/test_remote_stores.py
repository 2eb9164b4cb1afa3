"""The sections for MongoDB and DynamoDB."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.backends import DynamoDBBackend, MongoDBBackend
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di.settings.build import build_backend, plan_backend

URL = "mongodb://user:s3cr3t-s3cr3t@h1:27017,h2/admin?maxPoolSize=5"


def test_mongodb_is_built_from_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BACKEND": "mongodb", "MONGODB__URL": URL, "MONGODB__NEAR_TIER": "5s"}.items():
        monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", value)
    backend = build_backend(CacheSettings())
    assert isinstance(backend, MongoDBBackend)
    assert backend.name == "aiohttp-cache"
    assert (backend.stack.near_bytes > 0, backend.stack.near_lifetime_s) == (True, 5.0)
    assert "at mongodb://h1:27017,h2/admin:" in repr(backend)
    monkeypatch.setenv("AIOHTTP_CACHE_MONGODB__DATABASE", "other")
    assert build_backend(CacheSettings()).name == "other"


def test_dynamodb_is_built_from_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    section = {
        "REGION": "eu-west-1",
        "ENDPOINT": "http://127.0.0.1:4566",
        "CREATE_TABLE": "true",
        "CONSISTENT_READS": "yes",
        "TABLE": "responses",
    }
    for name, value in {
        "BACKEND": "dynamodb",
        **{f"DYNAMODB__{name}": value for name, value in section.items()},
    }.items():
        monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", value)
    plan = plan_backend(CacheSettings())
    given = {"region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:4566", "cache_name": "responses"}
    assert given.items() <= plan.options.items()
    assert plan.options["create_if_not_exists"] is True
    assert plan.options["consistent_reads"] is True
    assert isinstance(plan.build(), DynamoDBBackend)


@pytest.mark.parametrize("url", ["redis://h", "mongodb://", "mongodb://a b", "mongodb://:pa#ss@host"])
def test_an_address_that_is_none_is_refused_without_what_it_holds(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_MONGODB__URL", url)
    with pytest.raises(ConfigurationError, match="AIOHTTP_CACHE_MONGODB__URL") as caught:
        CacheSettings()
    assert "pa#ss" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["localhost:8000", "http://h:99999", "https://me:s3cr3t@h"])
def test_an_endpoint_that_the_driver_would_refuse_is_refused(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_DYNAMODB__ENDPOINT", endpoint)
    with pytest.raises(ConfigurationError, match="AIOHTTP_CACHE_DYNAMODB__ENDPOINT") as caught:
        CacheSettings()
    assert "http://host:port without a user" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_an_address_that_a_driver_refuses_is_reported_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "mongodb")
    monkeypatch.setenv("AIOHTTP_CACHE_MONGODB__URL", "mongodb://user:s3cr3t-s3cr3t@h:99999/?nonsense=1")
    with pytest.raises(ConfigurationError) as caught:
        build_backend(CacheSettings())
    assert "s3cr3t" not in str(caught.value)


def test_the_address_is_shown_without_its_secrets() -> None:
    settings = CacheSettings(mongodb={"url": URL})
    assert "s3cr3t" not in repr(settings)
