"""What aiohttp-client-cache has stored becomes ours: for the same requests, of the same people, and by our rules."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from tests.cli.runs import Run
from tests.integrations.origin import running_origin
from tests.older_pickles import older_file, older_pickle, older_response, pickled

ALICE = [("Authorization", "Bearer alice")]
BOB = [("Authorization", "Bearer bob")]


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache that is taken over into is; it follows the user's rules, as the older library does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("AIOHTTP_CACHE_CACHE_CONTROL", "false")
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(tmp_path / "new.sqlite"))
    return tmp_path / "new.sqlite"


def taken(run: Run, file: Path, *arguments: str) -> dict[str, Any]:
    status, said, error = run("copy", "--json", "--from-aiohttp-client-cache", str(file), *arguments)
    assert (status, error) == (0, "")
    told: dict[str, Any] = json.loads(said)
    return told


def answers(target: Path, *requests: tuple[str, dict[str, Any]], **options: Any) -> list[tuple[bool, str]]:
    """Whether each of the requests is a hit, and what it gets."""

    async def ask() -> list[tuple[bool, str]]:
        found = list[tuple[bool, str]]()
        async with CachedSession(cache=SQLiteBackend(str(target), expire_after=60, **options)) as session:
            for url, arguments in requests:
                async with session.get(url, **arguments) as response:
                    found.append((response.from_cache, await response.text()))
        return found

    return asyncio.run(ask())


def test_no_one_gets_what_was_fetched_for_another(target: Path, run: Run, tmp_path: Path) -> None:
    with running_origin() as origin:
        file = older_file(
            tmp_path / "old.sqlite",
            older_pickle(f"{origin.url}/public", body=b"old"),
            older_pickle(f"{origin.url}/me", body=b"alice's", request_headers=ALICE),
            older_pickle(f"{origin.url}/cookie", body=b"carol's", request_headers=[("Cookie", "sid=carol")]),
            older_pickle(f"{origin.url}/key", body=b"dave's", request_headers=[("X-Api-Key", "dave")]),
        )
        assert taken(run, file) == {"copied": 4, "left": 0, "reasons": {}}
        asked = answers(
            target,
            (f"{origin.url}/me", {}),
            (f"{origin.url}/me", {"headers": dict(BOB)}),
            (f"{origin.url}/cookie", {}),
            (f"{origin.url}/cookie", {"headers": {"Cookie": "sid=bob"}}),
            (f"{origin.url}/key", {}),
            (f"{origin.url}/key", {"headers": {"X-Api-Key": "bob"}}),
        )
        assert asked == [(False, str(number)) for number in range(1, 7)]
        asked = answers(
            target,
            (f"{origin.url}/public", {}),
            (f"{origin.url}/me", {"headers": dict(ALICE)}),
            (f"{origin.url}/cookie", {"headers": {"Cookie": "sid=carol"}}),
            (f"{origin.url}/key", {"headers": {"X-Api-Key": "dave"}}),
        )
        assert asked == [(True, "old"), (True, "alice's"), (True, "carol's"), (True, "dave's")]
        assert origin.hits == 6
    stored = b"".join(each.read_bytes() for each in tmp_path.glob("new.sqlite*"))
    assert b"alice's" in stored
    assert b"Bearer" not in stored
    assert b"sid=" not in stored


def test_variants_and_redirects_are_found_by_the_requests_that_they_were_for(
    target: Path, run: Run, tmp_path: Path
) -> None:
    with running_origin() as origin:
        url, vary = f"{origin.url}/text", [("Vary", "Accept-Language")]
        hop = older_response(f"{origin.url}/go", status=302, headers=[("Location", "/there")], body=b"", left_s=None)
        file = older_file(
            tmp_path / "old.sqlite",
            older_pickle(url, body=b"deutsch", headers=vary, request_headers=[("Accept-Language", "de")], age_s=5),
            older_pickle(url, body=b"english", headers=vary, request_headers=[("Accept-Language", "en")]),
            older_pickle(f"{origin.url}/there", body=b"there", history=(hop,)),
        )
        assert taken(run, file)["copied"] == 4
        asked = answers(
            target,
            (url, {"headers": {"Accept-Language": "en"}}),
            (url, {"headers": {"Accept-Language": "de"}}),
            (f"{origin.url}/go", {}),
            (f"{origin.url}/there", {}),
            (url, {"headers": {"Accept-Language": "fr"}}),
        )
        assert asked == [(True, "english"), (True, "deutsch"), (True, "there"), (True, "there"), (False, "1")]


def a_hop() -> dict[str, Any]:
    return {"status": 302, "headers": [("Location", "/there")], "body": b""}


@pytest.mark.parametrize("order", [1, -1], ids=["before", "after"])
def test_a_redirect_that_is_a_row_of_its_own_as_well_is_counted_once(
    target: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_ALLOWED_CODES", "200,302")
    base = "http://a.test"
    hop = older_response(f"{base}/go", **a_hop(), age_s=20)
    rows = [older_pickle(f"{base}/go", **a_hop(), age_s=20), older_pickle(f"{base}/there", history=(hop,))][::order]
    file = older_file(tmp_path / "old.sqlite", *rows)
    assert taken(run, file) == {"copied": 2, "left": 0, "reasons": {}}
    assert len(json.loads(run("ls", "--json")[1])) == 2


def test_a_redirect_that_several_responses_have_in_their_history_is_counted_once(
    target: Path, run: Run, tmp_path: Path
) -> None:
    base, vary = "http://a.test", [("Vary", "Accept-Language")]
    rows = [
        older_pickle(
            f"{base}/there",
            headers=vary,
            request_headers=[("Accept-Language", language)],
            history=(older_response(f"{base}/go", **a_hop(), age_s=age_s),),
        )
        for language, age_s in (("de", 20), ("en", 20), ("fr", 15), ("it", 30))
    ]
    file = older_file(tmp_path / "old.sqlite", *rows)
    assert taken(run, file) == {"copied": 5, "left": 0, "reasons": {}}
    assert taken(run, file) == {"copied": 0, "left": 4, "reasons": {"newer": 4}}


def test_a_response_that_is_there_for_the_redirect_too_that_led_to_it_is_counted_once(
    target: Path, run: Run, tmp_path: Path
) -> None:
    base = "http://a.test"
    hop = older_response(f"{base}/go", **a_hop())
    rows = [
        older_pickle(f"{base}/there", history=(hop,), age_s=30),
        older_pickle(f"{base}/there", age_s=20),
        older_pickle(f"{base}/there", age_s=40),
    ]
    file = older_file(tmp_path / "old.sqlite", *rows)
    assert taken(run, file) == {"copied": 2, "left": 0, "reasons": {}}
    assert taken(run, file) == {"copied": 0, "left": 1, "reasons": {"newer": 1}}
    assert len(json.loads(run("ls", "--json")[1])) == 2


def test_times_are_kept_and_cookies_and_secrets_are_not(target: Path, run: Run, tmp_path: Path) -> None:
    url = "https://user:hunter2@api.example.org/a?token=hunter2&b=1"
    file = older_file(
        tmp_path / "old.sqlite",
        older_pickle(url, headers=[("Set-Cookie", "sid=hunter2"), ("ETag", '"1"')], age_s=100, left_s=200),
        older_pickle("https://api.example.org/ever", left_s=None),
    )
    assert taken(run, file)["copied"] == 2
    shown = json.loads(run("show", "--json", "https://api.example.org/ever")[1])
    assert shown[0]["fresh_until"] is None or shown[0]["fresh_until"] == float("inf")
    (listed,) = json.loads(run("ls", "--json", "--match", "*/a?*")[1])
    assert listed["fresh_until"] - listed["stored_at"] == pytest.approx(300, abs=2)
    assert "hunter2" not in run("show", listed["key"])[1]
    assert b"hunter2" not in b"".join(each.read_bytes() for each in tmp_path.glob("new.sqlite*"))


LEFT = [
    ({"method": "POST"}, "request-body"),
    ({"request_headers": [("Content-Length", "3")]}, "request-body"),
    ({"headers": [("Cache-Control", "no-store")]}, "no-store"),
    ({"headers": [("Vary", "*")]}, "vary"),
    ({"left_s": -1}, "expired"),
    ({"status": 404}, "status"),
    ({"status": 304}, "status"),
    ({"status": 206, "request_headers": [("Range", "bytes=0-3")]}, "request"),
    ({"request_headers": [("Cache-Control", "no-store")]}, "request"),
    ({"headers": [("Content-Length", "9")]}, "damaged"),
    ({"headers": [("Content-Encoding", "gzip")]}, "undecoded"),
    ({"headers": [("Content-Type", "text/event-stream")]}, "event-stream"),
    ({"body": b"x" * 70_000}, "too-large"),
    ({"body": b"x" * 2_000_000}, "too-large"),
    ({"age_s": -60}, "impossible"),
    ({"headers": [("X-Odd", "a\nb")]}, "impossible"),
    ({"version": None, "status": 12345}, "status"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "why"), LEFT, ids=lambda value: value if isinstance(value, str) else "")
def test_a_response_that_may_not_be_stored_is_left_out_and_reported(
    target: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], why: str
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_MAX_BODY_BYTES", "64KiB")
    file = older_file(tmp_path / "old.sqlite", older_pickle("http://a.test/", **fields))
    assert taken(run, file) == {"copied": 0, "left": 1, "reasons": {why: 1}}
    status, said, _ = run("copy", "--from-aiohttp-client-cache", str(file))
    assert (status, said.splitlines()[0]) == (0, "0 entries taken over, 1 left")
    assert why in said


def test_the_standard_decides_where_it_holds(
    target: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_CACHE_CONTROL", "true")
    file = older_file(
        tmp_path / "old.sqlite",
        older_pickle("http://a.test/short", headers=[("Cache-Control", "max-age=60")]),
        older_pickle("http://a.test/silent"),
        older_pickle("http://a.test/long", headers=[("Cache-Control", "max-age=86400")], left_s=100),
        older_pickle("http://a.test/private", headers=[("Cache-Control", "no-cache"), ("ETag", '"1"')]),
        older_pickle("http://a.test/never"),
    )
    monkeypatch.setenv(
        "AIOHTTP_CACHE_URLS_EXPIRE_AFTER", json.dumps({"a.test/never": {"expire_after": 0, "override_origin": True}})
    )
    assert taken(run, file)["reasons"] == {"bypass": 1}
    left_s = {
        each["url"].rpartition("/")[2]: (each["fresh_until"] or 0) - each["stored_at"] if each["fresh_until"] else None
        for each in json.loads(run("ls", "--json")[1])
    }
    assert left_s["short"] == pytest.approx(60, abs=1)
    assert left_s["silent"] == pytest.approx(3610, abs=1)
    assert left_s["long"] == pytest.approx(110, abs=1)
    assert sorted(left_s) == ["long", "private", "short", "silent"]


def test_a_second_time_and_what_has_come_since_change_nothing(target: Path, run: Run, tmp_path: Path) -> None:
    with running_origin() as origin:
        file = older_file(tmp_path / "old.sqlite", older_pickle(f"{origin.url}/a", body=b"old"))
        assert answers(target, (f"{origin.url}/a", {})) == [(False, "1")]
        assert taken(run, file)["reasons"] == {"newer": 1}
        assert answers(target, (f"{origin.url}/a", {})) == [(True, "1")]
        older_file(file, older_pickle(f"{origin.url}/b", body=b"old"))
        assert taken(run, file)["copied"] == 1
        assert taken(run, file) == {"copied": 0, "left": 2, "reasons": {"newer": 2}}


def test_what_is_selected_is_taken_and_the_rest_is_left(target: Path, run: Run, tmp_path: Path) -> None:
    file = older_file(tmp_path / "old.sqlite", older_pickle("http://a.test/"), older_pickle("http://b.test/"))
    assert taken(run, file, "--host", "a.test") == {"copied": 1, "left": 1, "reasons": {"selected": 1}}


class Hostile:
    """Runs a command, where a reader of pickles does what it is told."""

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.call, (["touch", "run"],)


def test_what_could_run_is_named_and_left(target: Path, run: Run, tmp_path: Path) -> None:
    odd = [pickle.dumps(Hostile()), b"", b"not a pickle.", pickled("text"), pickled({"a": 1})]
    file = older_file(tmp_path / "old.sqlite", *odd, older_pickle("http://a.test/"))
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO responses VALUES ('text', 'no bytes')")
    told = taken(run, file)
    assert (told["copied"], told["left"]) == (1, 6)
    assert told["reasons"]["not read: it holds subprocess.call"] == 1
    assert not (tmp_path / "run").exists()


def test_among_signed_values_only_those_of_the_key_are_believed(
    target: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = b"\x80\x04N..VSAzKKfsuV1mWN-tSgXukuszC9I"  # of what is no response: see tests/entries/test_pickled.py
    file = older_file(tmp_path / "old.sqlite", signed, older_pickle("http://a.test/"))
    unsigned = "not read: it is not signed, as others in the file are"
    unknown = "not read: it is signed with a key that is not the SECRET_KEY"
    assert taken(run, file)["reasons"] == {unknown: 1, unsigned: 1}
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY", "a secret of the service")
    assert taken(run, file)["reasons"] == {"not read: it is not a response": 1, unsigned: 1}


@pytest.mark.parametrize("broken", [b"garbage", older_pickle("http://cut.test/")[:-1], b"\x80\x04." + b"\0" * 27])
def test_a_value_that_is_damaged_makes_no_file_of_signed_ones(
    target: Path, run: Run, tmp_path: Path, broken: bytes
) -> None:
    told = taken(run, older_file(tmp_path / "old.sqlite", broken, older_pickle("http://a.test/")))
    assert (told["copied"], told["left"]) == (1, 1)
    assert "signed" not in str(told["reasons"])


def test_each_command_on_such_a_file_points_to_what_takes_it_over(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = older_file(tmp_path / "older.sqlite", older_pickle("https://a.test/"))
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(file))
    told = f"warning: {file} is a cache of aiohttp-client-cache"
    way_out = f"aiohttp-cache copy --from-aiohttp-client-cache {file}"
    for command in (["ls"], ["stats"], ["purge", "--all", "--dry-run"], ["explain", "https://a.test/"]):
        _, _, error = run(*command)
        assert told in error
        assert way_out in error
    run("check")  # makes the tables of a cache in the file, which it may have beside the others
    _, _, error = run("ls")
    assert error == ""


def test_a_file_of_another_kind_is_refused(target: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    with closing(sqlite3.connect(tmp_path / "view.sqlite")) as connection, connection:
        connection.execute("CREATE VIEW responses AS SELECT 1 AS key, 2 AS value")
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    for name in ("missing.sqlite", "text", ".", "view.sqlite", "empty.sqlite"):
        status, said, error = run("copy", "--from-aiohttp-client-cache", name)
        assert (status, said, error.count("\n")) == (2, "", 1)
    with pytest.raises(SystemExit, match="2"):
        run("copy")
    with pytest.raises(SystemExit, match="2"):
        run("copy", "--to-prefix", "A_", "--from-aiohttp-client-cache", "text")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_the_file_of_another_user_is_not_read(target: Path, run: Run, tmp_path: Path) -> None:
    file = older_file(tmp_path / "old.sqlite", older_pickle("http://a.test/"))
    os.chown(file, 12345, 12345)
    status, _, error = run("copy", "--from-aiohttp-client-cache", str(file))
    assert (status, "belongs to another user" in error) == (1, True)


def test_the_address_of_a_server_is_refused_without_its_password(run: Run) -> None:
    status, said, error = run("copy", "--from-aiohttp-client-cache", "redis://:hunter2@127.0.0.1:6379/0")
    assert (status, said) == (2, "")
    assert error == "aiohttp-cache: redis://…: only a SQLite file can be imported, not what is on a server\n"
