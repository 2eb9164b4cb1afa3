"""No text of ours holds a secret: secrets are planted wherever one may stand, and every text is searched for them."""

from __future__ import annotations

import json
import traceback
from functools import cache
from pathlib import Path

import pytest

from aiohttp_cache_di.addresses import MASK
from aiohttp_cache_di.cli.main import main
from aiohttp_cache_di.cli.parsing import parser
from aiohttp_cache_di.cli.running import DONE
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di.settings.build import build_backend
from aiohttp_cache_di.settings.report import effective_settings, without_secrets

SECRET = "hunter2"
SECRETS = [item for item in CacheSettings.variables() if item.kind.secret]
OTHERS = [item for item in CacheSettings.variables() if not item.kind.secret]
IN_A_FORM = [
    "redis://:hunter2@host/0",
    "redis://user:hunter2@host/0?password=hunter2",
    "redis://:hunter2#x@host/0",
    "redis://:hunter2?x@host/0",
    "redis://:hunter2/x@host/0",
    "redis://:a@hunter2@host/0",
    "redis://user:hunter2",
    "rediss://:hunter2@",
    "http://:hunter2@host/0",
    "https://host/?access_token=hunter2",
    '{"password": "hunter2"}',
    '{"a": {"b": ["hunter2"]}}',
    '{"password": "hunter2"',
    '{"https://user:hunter2@host/*": "1h"}',
    '{"https://user:hunter2@host/*": "soon"}',
]
BARE = ["hunter2", "hunter2-hunter2-hunter2", "'hunter2'", '"hunter2', '["hunter2"]', "hunter2\r\n", "hunter2,hunter2"]


pytestmark = pytest.mark.usefixtures("no_variables", "one_parser")

made_once = cache(parser)


@pytest.fixture
def one_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the command's parser once: making it thousands of times takes longer than all that is tested here."""
    monkeypatch.setattr("aiohttp_cache_di.cli.main.parser", made_once)


def every_text(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> str:
    """All that is said of the variables as they are: errors with what caused them, values, output, logs."""
    texts: list[str] = []
    try:
        settings = CacheSettings.load()
    except ConfigurationError as exc:
        texts += traceback.format_exception(exc)
    else:
        texts += [repr(settings), str(settings), str(list(effective_settings(settings)))]
        try:
            backend = build_backend(settings)
        except (ConfigurationError, ImportError) as exc:
            texts += traceback.format_exception(exc)
        else:
            texts += [repr(backend), repr(backend.responses), str(backend)]
    if main(["settings"]) == DONE:  # refused settings are not shown in any format
        main(["settings", "--json"])
    return "\n".join([*texts, *capsys.readouterr(), caplog.text])


@pytest.mark.parametrize("suffix", [item.suffix for item in SECRETS])
@pytest.mark.parametrize(
    ("source", "text"),
    [
        *(("variable", text) for text in IN_A_FORM + BARE),
        *((source, text) for source in ("file", "env file", "directory") for text in (IN_A_FORM[2], *BARE[:2])),
    ],
)
def test_a_variable_that_holds_a_secret_is_never_shown(
    suffix: str,
    text: str,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = f"AIOHTTP_CACHE_{suffix}"
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    if source == "variable":
        monkeypatch.setenv(name, text)
    elif source == "file":
        (tmp_path / "secret").write_text(text)
        monkeypatch.setenv(f"{name}_FILE", "secret")
    elif source == "env file":
        (tmp_path / ".env").write_text(f"{name}='{text}'\n")
    else:
        (tmp_path / name).write_text(text)
        monkeypatch.setenv("AIOHTTP_CACHE_SECRETS_DIR", str(tmp_path))

    assert SECRET not in every_text(capsys, caplog)


@pytest.mark.parametrize("text", ["hunter2", "hunter2/hunter2/hunter2", "/hunter2/hunter2", "redis://:hunter2@host"])
def test_a_secret_in_the_place_of_its_files_name_is_not_shown(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY_FILE", text)

    assert SECRET not in every_text(capsys, caplog)


@pytest.mark.parametrize("text", IN_A_FORM)
def test_a_secret_that_went_into_another_variable_is_not_shown(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []
    for item in OTHERS:  # a case of its own for each, of hundreds, would take as long as what is tested
        with monkeypatch.context() as environment:
            environment.setenv(f"AIOHTTP_CACHE_{item.suffix}", text)
            if SECRET in every_text(capsys, caplog):
                shown.append(item.suffix)
        caplog.clear()
    assert shown == []


@pytest.mark.parametrize(
    "options",
    [
        {"storage_deadline": SECRET},
        {"password": SECRET, "storage_deadline": 0},
        {"stale_if_error": {"password": SECRET}},
        {"serializer": [SECRET]},
        {"urls_expire_after": {"a.test": SECRET}},
        {"address": f"redis://:{SECRET}#x@host/0"},
        {"address": f"redis://{SECRET}:x"},
        {SECRET: 1},
    ],
)
@pytest.mark.parametrize("backend", ["memory", "sqlite", "redis"])
def test_an_error_of_a_backend_is_reported_without_the_secret(
    options: dict[str, object],
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", backend)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND_OPTIONS", json.dumps(options))

    texts = every_text(capsys, caplog)

    # Names of options are told, so that a misspelt one can be found.
    assert SECRET not in texts or SECRET in options


def test_a_text_that_is_refused_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "x" * 100_000)

    with pytest.raises(ConfigurationError) as caught:
        CacheSettings.load()

    assert len(str(caught.value)) < 1_000


def test_a_secret_that_begins_like_another_leaves_nothing_of_that() -> None:
    settings = CacheSettings(secret_key=["correct horse battery", "correct horse battery staple"])
    assert without_secrets("refused: correct horse battery staple", settings) == f"refused: {MASK}"
