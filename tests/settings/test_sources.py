"""Where variables come from: the environment, what Kubernetes puts into it, files, pipes, a directory of secrets."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di.settings.report import effective_settings
from tests.posix import posix_only

KEY = "a key that is long enough"
OTHER_KEY = "another key that is long enough"


pytestmark = pytest.mark.usefixtures("no_variables")


def refusal(env_file: str | None = ".env") -> str:
    with pytest.raises(ConfigurationError) as caught:
        CacheSettings.load(env_file=env_file)
    return str(caught.value)


def key_of(settings: CacheSettings) -> str:
    return settings.secret_key[0].get_secret_value()


# Kubernetes


@pytest.mark.parametrize("service", ["RATES_CACHE", "RATES_CACHE_REDIS"])
def test_variables_that_kubernetes_makes_for_a_service_are_passed_over(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "SERVICE_HOST": "10.0.171.239",
        "SERVICE_PORT": "80",
        "SERVICE_PORT_HTTP": "80",
        "SERVICE_PORT_GRPC_WEB": "81",
        "PORT": "tcp://10.0.171.239:80",
        "PORT_80_TCP": "tcp://10.0.171.239:80",
        "PORT_80_TCP_PROTO": "tcp",
        "PORT_80_TCP_PORT": "80",
        "PORT_80_TCP_ADDR": "10.0.171.239",
        "PORT_53_UDP": "udp://[fd00::1]:53",
        "PORT_53_UDP_PROTO": "udp",
        "PORT_53_UDP_PORT": "53",
        "PORT_53_UDP_ADDR": "fd00::1",
    }.items():
        monkeypatch.setenv(f"{service}_{name}", value)
    monkeypatch.setenv("RATES_CACHE_BACKEND", "memory")

    assert CacheSettings.load("RATES_CACHE_").backend == "memory"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "6379"),
        ("REDIS__PORT", "6379"),
        ("SERVICE_HOST", "example.org"),
        ("SERVICE_PORT", "http"),
        ("PORT_80_TCP_ADRR", "10.0.0.1"),
        ("SERVICE_HOSTS", "10.0.0.1"),
    ],
)
def test_a_typing_error_that_looks_like_kubernetes_is_still_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", value)

    assert refusal().startswith(f"AIOHTTP_CACHE_{name}: there is no such setting")


def test_kubernetes_does_not_write_env_files(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_SERVICE_HOST=10.0.0.1\n")

    assert "AIOHTTP_CACHE_SERVICE_HOST in .env: there is no such setting" in refusal()


# Files of secrets


def secret_of(settings: CacheSettings, name: str) -> str:
    if name == "SECRET_KEY":
        return key_of(settings)
    if name == "REDIS__PASSWORD":
        assert settings.redis.password is not None
        return settings.redis.password.get_secret_value()
    return settings.redis.url.get_secret_value() if name == "REDIS__URL" else str(settings.backend_options["token"])


@pytest.mark.parametrize(
    ("name", "content", "secret"),
    [
        ("SECRET_KEY", KEY + "\n", KEY),
        ("REDIS__PASSWORD", KEY, KEY),
        ("REDIS__URL", "redis://:pw@host/1\r\n", "redis://:pw@host/1"),
        ("BACKEND_OPTIONS", '{"token": "x"}\n', "x"),
    ],
)
def test_a_secret_may_come_from_a_file_that_a_variable_names(
    name: str, content: str, secret: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name}_FILE", str(file))

    settings = CacheSettings.load()

    assert secret_of(settings, name) == secret
    assert {row.variable: row.source for row in effective_settings(settings)}[f"AIOHTTP_CACHE_{name}"] == str(file)


def test_the_environment_goes_before_a_file_that_the_env_file_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(OTHER_KEY)
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_SECRET_KEY_FILE=secret\n")
    assert key_of(CacheSettings.load()) == OTHER_KEY

    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY", KEY)

    assert key_of(CacheSettings.load()) == KEY


def test_a_secret_and_its_file_are_not_both_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(KEY)
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY", KEY)
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY_FILE", "secret")

    assert refusal() == "AIOHTTP_CACHE_SECRET_KEY and AIOHTTP_CACHE_SECRET_KEY_FILE are both set; keep one"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"hunter2-\xff-hunter2-hunter2", "it is not UTF-8 text"),
        (b"hunter2", "16 characters"),
        (b"x" * 2_000_000, "more than 1048576 bytes"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(
    content: bytes | None, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY_FILE", "secret")

    message = refusal()

    assert why in message
    assert "SECRET_KEY" in message
    assert "hunter2" not in message


def test_an_empty_name_of_a_file_of_keys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY_FILE", "")

    assert refusal().startswith("AIOHTTP_CACHE_SECRET_KEY_FILE: it is empty")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ('"{}/secret"', "quotes came along; leave them out"),
        ("'{}/secret'", "quotes came along; leave them out"),
        ("file://{}/secret", "a URL, where a path belongs"),
        ('["{}/secret"]', "JSON, where the bare text belongs"),
    ],
)
def test_a_form_of_a_files_name_that_is_not_taken_is_told(
    given: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("correct horse battery")
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY_FILE", given.format(tmp_path))
    told = refusal()
    assert told.startswith("AIOHTTP_CACHE_SECRET_KEY_FILE=")
    assert told.endswith(f": {why}")


def test_only_a_secret_has_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND_FILE", "x")
    assert refusal().startswith("AIOHTTP_CACHE_BACKEND_FILE: there is no such setting")


def test_a_misspelt_name_of_a_file_is_told_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEYFILE", "x")

    assert "did you mean AIOHTTP_CACHE_SECRET_KEY_FILE?" in refusal()


# A directory of secrets


def test_a_directory_holds_files_that_are_named_like_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    directory.mkdir()
    (directory / "aiohttp_cache_secret_key").write_text(KEY + "\n")
    (directory / "AIOHTTP_CACHE_REDIS__PASSWORD").write_text("pw\n")
    (directory / "AIOHTTP_CACHE_EXPIRE_AFTER").write_text("5m\n")
    (directory / "database_password").write_text("not ours")
    (directory / "..data").mkdir()
    monkeypatch.setenv("AIOHTTP_CACHE_SECRETS_DIR", str(directory))
    monkeypatch.setenv("AIOHTTP_CACHE_EXPIRE_AFTER", "1h")

    settings = CacheSettings.load()
    sources = {row.variable: row.source for row in effective_settings(settings)}

    assert key_of(settings) == KEY
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "pw"
    assert settings.expire_after == 3600.0
    assert sources["AIOHTTP_CACHE_SECRET_KEY"] == str(directory / "aiohttp_cache_secret_key")
    assert sources["AIOHTTP_CACHE_EXPIRE_AFTER"] == sources["AIOHTTP_CACHE_SECRETS_DIR"] == "environment"


def test_code_may_name_the_directory(tmp_path: Path) -> None:
    (tmp_path / "aiohttp_cache_secret_key").write_text(KEY)

    assert key_of(CacheSettings(secrets_dir=tmp_path)) == KEY


def test_a_misspelt_file_in_the_directory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "aiohttp_cache_secret_kye").write_text(KEY)
    monkeypatch.setenv("AIOHTTP_CACHE_SECRETS_DIR", str(tmp_path))

    assert f"in {tmp_path / 'aiohttp_cache_secret_kye'}: there is no such setting; did you mean" in refusal()


def test_a_directory_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SECRETS_DIR", "missing")

    assert refusal() == "AIOHTTP_CACHE_SECRETS_DIR='missing' cannot be read: No such file or directory"


def test_what_cannot_be_read_in_the_directory_is_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "AIOHTTP_CACHE_SECRET_KEY").mkdir()
    monkeypatch.setenv("AIOHTTP_CACHE_SECRETS_DIR", str(tmp_path))

    assert refusal().endswith(": AIOHTTP_CACHE_SECRET_KEY cannot be read: Is a directory")


# The env file


@posix_only
def test_an_env_file_that_is_a_pipe_is_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    writer = threading.Thread(
        target=(tmp_path / ".env").write_text, args=("AIOHTTP_CACHE_BACKEND=memory\nAIOHTTP_CACHE_LEASE=1s\n",)
    )
    writer.start()
    try:
        settings = CacheSettings.load()
    finally:
        writer.join(10)

    assert (settings.backend, settings.lease) == ("memory", 1.0)
    assert settings.source_of(("backend",)) == ".env"


@posix_only
def test_a_pipe_that_no_one_writes_to_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("aiohttp_cache_di.settings.sources.PIPE_TIMEOUT_S", 0.05)
    os.mkfifo(tmp_path / ".env")

    assert refusal() == "env_file='.env' cannot be read: nothing was written to the pipe for 0.05 s"


def test_an_anonymous_pipe_is_read_as_well(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"AIOHTTP_CACHE_BACKEND=memory\n")
    os.close(write_end)
    try:
        assert CacheSettings.load(env_file=f"/dev/fd/{read_end}").backend == "memory"
    finally:
        os.close(read_end)


def test_a_directory_called_env_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()

    assert CacheSettings.load().backend == "sqlite"


def test_an_env_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_BACKEND=memory\n", encoding="utf-8-sig")

    assert CacheSettings.load().backend == "memory"


def test_quotes_belong_to_the_form_of_an_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("export AIOHTTP_CACHE_CACHE_NAME='api'\n")

    assert CacheSettings.load().cache_name == "api"


def test_a_wrong_value_in_the_env_file_is_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_BACKEND=redsi\n")

    assert refusal().startswith("AIOHTTP_CACHE_BACKEND='redsi' in .env: it accepts memory")


def test_a_class_is_not_imported_at_the_word_of_a_file_in_the_current_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_BACKEND=evil:Backend\n")

    assert "code is not imported at the word of a file" in refusal()
    assert CacheSettings.load(env_file=str(tmp_path / ".env")).backend == "evil:Backend"
    assert CacheSettings.load(env_file="./.env").backend == "evil:Backend"
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "mine:Backend")
    assert CacheSettings.load().backend == "mine:Backend"
    monkeypatch.delenv("AIOHTTP_CACHE_BACKEND")
    assert CacheSettings(backend="memory").backend == "memory"


def test_a_class_is_not_imported_at_the_word_of_a_directory_that_this_file_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "AIOHTTP_CACHE_BACKEND").write_text("evil:Backend")
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_SECRETS_DIR=./evil\n")

    assert refusal().startswith(
        "AIOHTTP_CACHE_BACKEND='evil:Backend' in evil/AIOHTTP_CACHE_BACKEND, which .env names: code is not imported"
    )
    assert CacheSettings.load(env_file="./.env").backend == "evil:Backend"
    assert CacheSettings(secrets_dir=tmp_path / "evil").backend == "evil:Backend"
    monkeypatch.setenv("AIOHTTP_CACHE_SECRETS_DIR", "evil")
    assert CacheSettings.load().backend == "evil:Backend"


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_the_env_file_of_the_current_directory_takes_nothing_else_of_the_environment(
    quote: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    (tmp_path / ".env").write_text(
        f"AIOHTTP_CACHE_REDIS__URL={quote}redis://:${{DATABASE_PASSWORD}}@evil.test/0{quote}\n"
    )

    message = refusal()

    assert message.startswith("AIOHTTP_CACHE_REDIS__URL in .env: ${...} is not expanded in a file that lies in")
    assert "hunter2" not in message
    named = CacheSettings.load(env_file="./.env")
    assert named.redis.url.get_secret_value() == "redis://:hunter2@evil.test/0"


@pytest.mark.parametrize(
    "line", ["AIOHTTP_CACHE_SECRET_KEY", "export AIOHTTP_CACHE_SECRET_KEY", "AIOHTTP_CACHE_SECRET_KEY="]
)
@pytest.mark.parametrize("env_file", [".env", "./.env"])
def test_a_secret_key_that_is_only_named_is_refused(line: str, env_file: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{line}\n")

    assert refusal(env_file) == "AIOHTTP_CACHE_SECRET_KEY: it is empty; give it a value, or leave it out"
