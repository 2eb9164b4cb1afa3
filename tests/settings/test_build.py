"""From settings to a back-end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import keys
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di.settings.build import build_backend
from aiohttp_cache_di.telemetry.metrics import exported


@pytest.fixture(autouse=True)
def _in_an_empty_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


class PickyBackend(CacheBackend):
    """Take one option more."""

    def __init__(self, *, region: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.region = region


def plain(backend: CacheBackend) -> dict[str, object]:
    """The options of a back-end that can be compared; its revision tells only when it was last changed."""
    kept = int, float, str, bool, frozenset, tuple, bytes, type(None)
    return {name: value for name, value in vars(backend).items() if isinstance(value, kept) and name != "revision"}


@pytest.mark.shortcuts
def test_default_settings_build_the_same_as_the_defaults_of_the_backend() -> None:
    built = plain(build_backend(CacheSettings(backend="memory")))
    by_hand = plain(CacheBackend(cache_control=True, expire_after=None))

    assert built == by_hand


def test_every_setting_reaches_the_backend() -> None:
    backend = build_backend(
        CacheSettings(
            backend="memory",
            cache_name="api",
            expire_after=60,
            allowed_codes=(200, 404),
            ignored_params=("token",),
            credential_headers=("X-Tenant",),
            stale_if_error=30,
            max_body_bytes=1000,
            storage_deadline=0.5,
            coalesce=False,
        )
    )

    assert backend.name == "api"
    assert backend.expire_after == 60
    assert set(backend.allowed_codes) == {200, 404}
    assert backend.ignored_params == {"token"}
    assert backend.names_of_credentials == keys.credential_names(
        keys.DEFAULT_CREDENTIAL_HEADERS | ["x-tenant"], ["token"]
    )
    assert backend.stale_if_error_s == 30
    assert backend.max_body_bytes == 1000
    assert backend.coalesce is False


@pytest.mark.parametrize(
    ("variables", "prefix", "label"),
    [
        ({"X_SQLITE__PATH": "a/cache.sqlite", "X_CACHE_NAME": "orders"}, "X_", "orders"),
        ({"X_SQLITE__PATH": "a/cache.sqlite"}, "X_", "x"),
        ({"AIOHTTP_CACHE_SQLITE__PATH": "a/orders.sqlite"}, "AIOHTTP_CACHE_", "orders"),
        ({"X_BACKEND": "filesystem", "X_FILESYSTEM__PATH": "a/responses"}, "X_", "x"),
        ({"X_BACKEND": "mongodb", "X_MONGODB__DATABASE": "shared", "X_CACHE_NAME": "orders"}, "X_", "orders"),
        ({"X_BACKEND": "dynamodb", "X_DYNAMODB__TABLE": "shared"}, "X_", "x"),
    ],
)
def test_metrics_name_a_cache_as_its_variables_do_wherever_its_entries_are(
    variables: dict[str, str], prefix: str, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    backend = build_backend(CacheSettings.load(prefix))

    assert [each.label for each in exported([backend])] == [label]
    if "SQLITE" in "".join(variables):
        assert isinstance(backend.responses, SQLiteCache)
        assert backend.responses.filename.endswith(variables[f"{prefix}SQLITE__PATH"])


def test_a_class_is_named_by_module_and_name_and_gets_its_own_options() -> None:
    backend = build_backend(CacheSettings(backend=f"{__name__}:PickyBackend", backend_options={"region": "north"}))

    assert isinstance(backend, PickyBackend)
    assert backend.region == "north"
    assert backend.cache_control


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.such.module:Class", "module no.such.module cannot be imported"),
        ("json:Backend", "module json has no Backend"),
        ("json:JSONDecoder", "JSONDecoder is not a subclass of"),
        (f"{__name__}:PickyBackend", "cannot be built: .*'region'"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_with_the_variable(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"AIOHTTP_CACHE_BACKEND='{name}'.*{message}"):
        build_backend(CacheSettings(backend=name))


def test_an_unknown_backend_option_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unexpected option 'regoin'"):
        build_backend(CacheSettings(backend="memory", backend_options={"regoin": 1}))


def test_an_unknown_backend_option_is_refused_with_its_own_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"='memory' cannot be built with AIOHTTP_CACHE_BACKEND_OPTIONS: "):
        build_backend(CacheSettings(backend="memory", backend_options={"regoin": 1}))


def test_an_argument_that_the_class_refuses_is_reported_with_the_variable() -> None:
    settings = CacheSettings(backend=f"{__name__}:PickyBackend", backend_options={"region": "x", "storage_deadline": 0})

    with pytest.raises(ConfigurationError, match=r"AIOHTTP_CACHE_BACKEND=.* cannot be built: storage_deadline=0"):
        build_backend(settings)


def test_principals_and_shared_credentials_come_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")
    monkeypatch.setenv("AIOHTTP_CACHE_PRINCIPALS", '{"api.example.com/v1": "tenant-7", "*.example.com": "all"}')
    monkeypatch.setenv("AIOHTTP_CACHE_SHARED_CREDENTIALS", "*.amazonaws.com,s3.test")
    settings = CacheSettings()
    backend = build_backend(settings)
    plain = CacheBackend(cache_control=True)
    token = {"Authorization": "Bearer x"}

    def key(url: str, **options: Any) -> str:
        return plain.create_key("GET", url, headers=token, **options)

    assert backend.create_key("GET", "https://api.example.com/v1/a", headers=token) == key(
        "https://api.example.com/v1/a", principal="tenant-7"
    )
    assert backend.create_key("GET", "https://b.example.com/", headers=token) == key(
        "https://b.example.com/", principal="all"
    )
    s3 = "https://bucket.s3.amazonaws.com/key"
    assert backend.create_key("GET", s3, headers=token) == key(s3, credentials_are_shared=True)
    assert backend.create_key("GET", "https://else.test/", headers=token) == key("https://else.test/")
    assert "tenant-7" not in repr(settings)


@pytest.mark.parametrize("value", ['{"a.test": 7}', '{"a.test": ""}', '{"": "a"}', '{"[z-a]": "a"}', "tenant-7", "[1]"])
def test_principals_that_cannot_be_used_are_refused_with_their_pattern(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_PRINCIPALS", value)

    with pytest.raises(ConfigurationError, match="AIOHTTP_CACHE_PRINCIPALS"):
        CacheSettings()
