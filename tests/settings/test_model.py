"""Settings from variables: every form, every refusal, and where each came from."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings import CacheSettings, RedisSettings
from aiohttp_cache_di.settings.report import effective_settings

pytestmark = pytest.mark.usefixtures("no_variables")


def refusal(prefix: str = "AIOHTTP_CACHE_") -> str:
    with pytest.raises(ConfigurationError) as caught:
        CacheSettings.load(prefix)
    return str(caught.value)


def test_the_defaults_are_sqlite_in_the_users_cache_directory_and_the_rules_of_http() -> None:
    settings = CacheSettings.load()

    assert settings.backend == "sqlite"
    assert settings.sqlite_path.name == "aiohttp-cache.sqlite"
    assert settings.sqlite_path.is_absolute()
    assert settings.cache_control is True
    assert settings.expire_after is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("backend", "package.module:Class", "package.module:Class"),
        ("cache_control", "off", False),
        ("expire_after", "1h30m", 5400.0),
        ("expire_after", "never", -1.0),
        ("expire_after", "-1", -1.0),
        ("expire_after", "0", 0.0),
        ("expire_after", "none", None),
        ("urls_expire_after", '{"*.example.com/a": "5m", "*": "none"}', {"*.example.com/a": 300.0, "*": None}),
        ("allowed_codes", "200, 301", (200, 301)),
        ("allowed_codes", "none", None),
        ("allowed_methods", "get,post", ("GET", "POST")),
        ("ignored_params", "token, api_key", ("token", "api_key")),
        ("stale_if_error", "1d", 86400.0),
        ("stale_if_error", "always", True),
        ("stale_while_revalidate", "none", None),
        ("max_body_bytes", "1MiB", 1024**2),
        ("max_body_bytes", "none", None),
        ("max_bytes", "none", None),
        ("max_bytes", "auto", "auto"),
        ("max_bytes", "1GiB", 1024**3),
        ("max_entries", "10", 10),
        ("storage_deadline", "100ms", 0.1),
        ("partition_cookies", "explicit", "explicit"),
        ("partition_tls", "context", "context"),
        ("heuristic_fraction", "0.2", 0.2),
        ("backend_options", '{"region": "x"}', {"region": "x"}),
        ("credential_headers", "X-Tenant, X-User", ("X-Tenant", "X-User")),
    ],
)
def test_a_variable_is_read_in_its_human_form(
    name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name.upper()}", text)

    found = getattr(CacheSettings.load(), name)

    assert found == value
    assert type(found) is type(value)


def test_sections_are_reached_with_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", "~/http.db")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__NEAR_TIER", "3s")
    monkeypatch.setenv("AIOHTTP_CACHE_CLIENT__TIMEOUT", "none")

    settings = CacheSettings.load()

    assert settings.sqlite_path == Path.home() / "http.db"
    assert settings.sqlite.timeout == 0.15
    assert settings.redis.near_tier == 3.0
    assert settings.client.timeout is None


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_MAX_ENTRIES", "")
    monkeypatch.setenv("AIOHTTP_CACHE_NO_SUCH_THING", "")

    settings = CacheSettings.load()

    assert settings.max_entries is None
    assert settings.source_of(("max_entries",)) == "default"


@pytest.mark.parametrize(
    ("name", "text", "accepted"),
    [
        ("BACKEND", "redsi", "memory, sqlite, redis, filesystem, dynamodb, mongodb or package.module:Class"),
        ("CACHE_CONTROL", "maybe", "true or false"),
        ("EXPIRE_AFTER", "5x", "1h30m"),
        ("EXPIRE_AFTER", "-2", "never or none"),
        ("ALLOWED_CODES", "20", "status codes"),
        ("MAX_BYTES", "64M", "64MiB"),
        ("MAX_BODY_BYTES", "much", "64MiB"),
        ("MAX_ENTRIES", "0", "a whole number from 1"),
        ("MAX_VARIANTS", "0", "a whole number from 1"),
        ("STORAGE_DEADLINE", "0", "more than 0"),
        (
            "STORAGE_DEADLINE",
            "250",
            "a number of seconds, or a duration such as 250ms or 2s, more than 0s up to 1m",
        ),
        ("SQLITE__TIMEOUT", "150", "a number of seconds, or a duration such as 250ms or 2s, up to 1m"),
        ("HEURISTIC_FRACTION", "2", "a number from 0 to 1"),
        ("PARTITION_COOKIES", "all", "effective or explicit"),
        ("REDIS__URL", "http://localhost", "redis://"),
        ("REDIS__URL", "redis://localhost:0", "redis://"),
        ("REDIS__URL", "redis:///0", "redis://"),
        ("REDIS__URL", "unix://", "unix:///path"),
        ("ALLOWED_METHODS", "GET POST", "separated by commas"),
        ("CREDENTIAL_HEADERS", "X-Api-Key:", "header fields"),
        ("REDIS__NEAR_TIER", "many", "1h30m"),
        ("CLIENT__CONNECTIONS", "-1", "a whole number from 0"),
    ],
)
def test_a_wrong_value_is_refused_with_the_variable_the_value_and_what_is_accepted(
    name: str, text: str, accepted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", text)

    message = refusal()

    assert message.startswith(f"AIOHTTP_CACHE_{name}={text!r}: it accepts ")
    assert accepted in message


def test_all_invalid_values_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "x")
    monkeypatch.setenv("AIOHTTP_CACHE_MAX_BYTES", "x")
    monkeypatch.setenv("AIOHTTP_CACHE_MAX_BITES", "x")

    message = refusal()

    assert message.startswith("3 settings cannot be used:\n")
    assert all(f"AIOHTTP_CACHE_{name}" in message for name in ("BACKEND", "MAX_BYTES", "MAX_BITES"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BACKEND_OPTIONS", '{"password": "hunter2"'),
        ("BACKEND_OPTIONS", '{"hunter2": 1, "hunter2": 2}'),
        ("SECRET_KEY", "hunter2"),
        ("SECRET_KEY", '{"key": "hunter2"}'),
        ("REDIS__PASSWORD", '"hunter2"'),
        ("REDIS__PASSWORD", '{"password": "hunter2"}'),
        ("REDIS__URL", "redis://:hunter2#x@host/0"),
        ("REDIS__URL", "redis://:hunter2?x@host/0"),
        ("REDIS__URL", "redis://user:hunter2"),
        ("REDIS__URL", "'redis://:hunter2@host/0'"),
        ("URLS_EXPIRE_AFTER", '{"https://user:hunter2@host/*": "soon"}'),
        ("SECRET_KEY", ","),
        ("REDIS__URL", "http://user:hunter2@localhost"),
        ("REDIS__URL", "redis//user:hunter2@localhost"),
        ("REDIS__URL", "http://localhost?password=hunter2"),
        ("REDIS__URL", "redis://[hunter2"),
    ],
)
def test_a_refusal_shows_no_secret(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", text)

    with pytest.raises(ConfigurationError, match=f"AIOHTTP_CACHE_{name}=") as caught:
        CacheSettings.load()

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_secrets_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY", "hunter2hunter2hunter2,hunter1hunter1hunter1")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", "redis://user:hunter2@host:1/0?password=hunter2")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__PASSWORD", "hunter2")
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND_OPTIONS", '{"token": "hunter2"}')

    settings = CacheSettings.load()
    shown = {row.variable: row.value for row in effective_settings(settings)}

    assert [key.get_secret_value() for key in settings.secret_key] == ["hunter2" * 3, "hunter1" * 3]
    assert "hunter" not in repr(settings) + str(shown)
    assert shown["AIOHTTP_CACHE_SECRET_KEY"] == "***"
    assert shown["AIOHTTP_CACHE_REDIS__URL"] == "redis://user:***@host:1/0?password=***"
    assert shown["AIOHTTP_CACHE_REDIS__PASSWORD"] == "***"
    assert shown["AIOHTTP_CACHE_BACKEND_OPTIONS"] == "{token: ***}"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("BAKEND", "AIOHTTP_CACHE_BACKEND"),
        ("EXPIRES_AFTER", "AIOHTTP_CACHE_EXPIRE_AFTER"),
        ("SQLITE_PATH", "AIOHTTP_CACHE_SQLITE__PATH"),
        ("SQLITE", "AIOHTTP_CACHE_SQLITE__PATH"),
        ("redis__ulr", "AIOHTTP_CACHE_REDIS__URL"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(
    name: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", "1")

    assert refusal() == f"AIOHTTP_CACHE_{name.upper()}: there is no such setting; did you mean {nearest}?"


@pytest.mark.parametrize("name", ["REDIS__PORT", "REDIS__HOST", "REDIS__DB"])
def test_a_variable_that_is_like_no_other_of_its_section_is_refused_with_all_of_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", "1")

    told = refusal()
    assert told.startswith(
        f"AIOHTTP_CACHE_{name}: there is no such setting; there are AIOHTTP_CACHE_REDIS__URL, AIOHTTP_CACHE_REDIS__USER"
    )
    assert "_FILE" not in told


def test_a_variable_that_is_like_no_other_but_by_its_prefix_is_given_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_TYPO", "1")

    assert "did you mean" not in refusal()


def test_a_variable_that_looks_like_another_caches_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_WEATHER_FORECAST_BACKEND", "memory")

    assert "need a prefix that does not begin with AIOHTTP_CACHE_" in refusal()


def test_each_cache_has_a_prefix_and_a_store_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_EXPIRE_AFTER", "1h")
    monkeypatch.setenv("WEATHER_CACHE_EXPIRE_AFTER", "5m")

    default, weather = CacheSettings.load(), CacheSettings.load("WEATHER_CACHE_")

    assert (default.expire_after, weather.expire_after) == (3600.0, 300.0)
    assert (default.name, weather.name) == ("aiohttp-cache", "weather-cache")
    assert default.sqlite_path != weather.sqlite_path
    assert weather.prefix == "WEATHER_CACHE_"


def test_variables_without_a_prefix_are_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKEND", "memory")
    options: dict[str, Any] = {"_env_prefix": ""}

    with pytest.raises(ConfigurationError, match="prefix=''"):
        CacheSettings.load("")
    assert CacheSettings(**options).backend == "sqlite"


def test_the_environment_goes_before_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "AIOHTTP_CACHE_BACKEND=memory\nAIOHTTP_CACHE_EXPIRE_AFTER=5m\nAIOHTTP_CACHE_CLIENT__COOKIES=1\nOTHER=1\n"
    )
    monkeypatch.setenv("AIOHTTP_CACHE_EXPIRE_AFTER", "1h")

    settings = CacheSettings.load()

    assert (settings.backend, settings.expire_after, settings.client.cookies) == ("memory", 3600.0, True)
    assert settings.source_of(("backend",)) == ".env"
    assert settings.source_of(("expire_after",)) == "environment"
    assert settings.source_of(("client", "cookies")) == ".env"
    assert settings.source_of(("shared",)) == "default"


def test_a_misspelt_variable_in_the_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_BAKEND=memory\n")

    assert "did you mean AIOHTTP_CACHE_BACKEND?" in refusal()


def test_another_env_file_may_be_named_but_must_exist(tmp_path: Path) -> None:
    (tmp_path / "test.env").write_text("AIOHTTP_CACHE_BACKEND=memory\n")

    settings = CacheSettings.load(env_file=tmp_path / "test.env")
    assert (settings.backend, settings.source_of(("backend",))) == ("memory", str(tmp_path / "test.env"))
    assert CacheSettings.load(env_file=None).backend == "sqlite"
    with pytest.raises(ConfigurationError, match="there is no such file"):
        CacheSettings.load(env_file=tmp_path / "missing.env")


def test_an_unreadable_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"AIOHTTP_CACHE_BACKEND=\xff\xfe\n")

    assert "env_file='.env' cannot be read" in refusal()


def test_code_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__USERNAME", "app")

    settings = CacheSettings(backend="memory", redis=RedisSettings(near_tier=2))

    assert settings.backend == "memory"
    assert settings.redis.near_tier == 2
    assert settings.source_of(("backend",)) == "code"
    assert settings.source_of(("redis", "near_tier")) == "code"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"backend": "x"},
            "backend='x': it accepts memory, sqlite, redis, filesystem, dynamodb, mongodb or package.module:Class",
        ),
        ({"sqlite": {"path": 3}}, "sqlite.path=3: it accepts a path (~ is your home), or none"),
        (
            {"secret_key": 5},
            "secret_key=***: it accepts secrets of 16 characters or more, separated by commas or as a JSON list: "
            "the first signs, all verify",
        ),
    ],
)
def test_a_wrong_value_in_code_is_a_configuration_error_too(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CacheSettings(**given)  # type: ignore[arg-type]  # that is what the test is about  # pyright: ignore

    assert str(caught.value) == message


def test_a_misspelt_argument_is_a_type_error_with_the_nearest_name() -> None:
    with pytest.raises(TypeError, match="unexpected option 'bakend'; did you mean 'backend'"):
        CacheSettings(bakend="memory")  # type: ignore[call-arg]  # that is what the test is about  # pyright: ignore


def test_a_subclass_reads_and_explains_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    class AppSettings(CacheSettings):
        upstream_retries: int = 0

    monkeypatch.setenv("AIOHTTP_CACHE_UPSTREAM_RETRIES", "3")
    assert AppSettings.load().model_dump()["upstream_retries"] == 3

    monkeypatch.setenv("AIOHTTP_CACHE_UPSTREAM_RETRIES", "x")
    with pytest.raises(ConfigurationError, match="AIOHTTP_CACHE_UPSTREAM_RETRIES='x': it accepts a whole number"):
        AppSettings.load()


def test_every_option_of_a_backend_can_be_set() -> None:
    in_code_only = {"principal", "autoclose", "filter_fn", "tag_fn", "salt", "serializer"}

    assert CacheSettings.model_fields.keys() >= BACKEND_OPTIONS - in_code_only


def test_every_variable_says_what_it_means_and_accepts() -> None:
    for item in CacheSettings.variables():
        assert item.field.description, item.suffix
        assert item.accepts, item.suffix


def test_every_shown_value_is_read_back_as_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    before = CacheSettings.load()
    for row in effective_settings(before):
        if row.variable not in {"AIOHTTP_CACHE_SECRET_KEY", "AIOHTTP_CACHE_REDIS__PASSWORD"} and row.value != "none":
            monkeypatch.setenv(row.variable, row.value)

    after = CacheSettings.load()

    assert (
        list(zip(*effective_settings(after), strict=True))[1] == list(zip(*effective_settings(before), strict=True))[1]
    )


@pytest.mark.parametrize(
    ("name", "value"), [("prefix", 5), ("prefix", b"X_"), ("env_file", 5), ("env_file", b".env")], ids=str
)
def test_an_argument_of_load_that_cannot_be_used_is_refused_by_name(name: str, value: Any) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=f"^{name}="):
        CacheSettings.load(**wrong)


@pytest.mark.parametrize("names", [["X-Tenant:"], ("X Tenant",), {""}], ids=str)
def test_a_name_that_no_header_field_has_is_refused_in_code_too(names: Any) -> None:
    with pytest.raises(ConfigurationError, match="credential_headers"):
        CacheSettings(credential_headers=names)
