"""The command on the cache that variables describe: what it says, and with which status it ends."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.backends.sqlite.file.schema import KEPT
from aiohttp_cache_di.entries.info import info_of, pack_info, short_id
from aiohttp_cache_di.rfc9111.messages import StoredResponse, Tagging
from tests.backends.entries import make_entry
from tests.cli.runs import Run
from tests.integrations.origin import running_origin


def entry(key: str, url: str, **fields: Any) -> StoredResponse:
    return replace(make_entry(key), url=url, **fields)


COOKIE = ((b"Set-Cookie", b"id=hunter2"),)
TAG = ((b"Cache-Tag", b"red"), (b"Content-Type", b"text/\x1b[31mred"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with some entries, which the variables name."""
    place = tmp_path / "cache.sqlite"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(place))
    now = time.time()

    async def fill() -> None:
        backend = SQLiteBackend(str(place))
        for each in (
            entry("aa1", "http://a.test/small"),
            entry("aa2", "http://a.test/large", body=b"x" * 3000, created_at=now - 7200),
            entry("bb1", "http://b.test/stale", fresh_until=now - 60, partition="tenant-7", raw_headers=COOKIE),
            entry("bb2", "http://b.test/coloured", raw_headers=TAG),
        ):
            await backend.write(each)
        await backend.learn_secret()  # as a service does
        await backend.close()

    asyncio.run(fill())
    return place


def listed(run: Run, *arguments: str) -> list[str]:
    status, said, _ = run("ls", "--json", *arguments)
    assert status == 0
    return [each["key"] for each in json.loads(said)]


def test_a_host_without_its_port_that_selects_nothing_is_reported_with_its_ports(path: Path, run: Run) -> None:
    async def add() -> None:
        backend = SQLiteBackend(str(path))
        await backend.write(entry("cc1", "http://c.test:8080/one"))
        await backend.write(entry("cc2", "http://c.test.other:8080/one"))
        await backend.write(entry("cc3", "http://[::1]:8080/one"))
        await backend.close()

    asyncio.run(add())
    for command in (
        "ls --host c.test",
        "ls --host C.Test --json",
        "purge --host c.test",
        "purge --host c.test --dry-run",
    ):
        status, _, error = run(*command.split())
        assert (status, "means URLs without a port; there are some of c.test:8080\n" in error) == (0, True), command
    assert "there are some of [::1]:8080" in run("ls", "--host", "::1")[2]
    for command in ("ls --host c.test:8080", "ls --host a.test", "ls --host d.test", "ls --host c.test:81"):
        assert run(*command.split())[2] == "", command


def test_not_all_are_fresh_if_a_few_of_many_are_stale(path: Path, run: Run) -> None:
    async def add() -> None:
        backend = SQLiteBackend(str(path))
        for number in range(296):
            await backend.write(entry(f"dd{number}", f"http://d.test/{number}"))
        await backend.close()

    asyncio.run(add())
    assert "300 entries, 99% of them fresh" in run("stats")[1]


def test_entries_are_listed_in_the_order_that_is_asked_for(path: Path, run: Run) -> None:
    assert listed(run) == ["aa2", "aa1", "bb2", "bb1"]
    assert listed(run, "--sort", "size", "--limit", "1") == ["aa2"]
    assert listed(run, "--sort", "age", "--limit", "1") == ["aa2"]
    assert listed(run, "--sort", "expires", "--limit", "1") == ["bb1"]
    assert listed(run, "--host", "b.test", "--expired") == ["bb1"]
    assert listed(run, "--tag", "red") == ["bb2"]
    assert listed(run, "--match", "a.test/s*", "--match", "b.test/s*") == ["aa1", "bb1"]
    assert listed(run, "--partition", short_id("tenant-7")) == ["bb1"]
    assert listed(run, "--partition", "-", "--host", "b.test") == ["bb2"]
    assert listed(run, "--older-than", "1h", "--larger-than", "2KiB") == ["aa2"]
    status, said, _ = run("ls", "--sort", "size", "--limit", "2")
    assert status == 0
    assert [line.split()[:2] for line in said.splitlines()[:2]] == [["METHOD", "STATUS"], ["GET", "200"]]
    assert said.splitlines()[-1] == "… and 2 more; --limit 0 shows all"


def test_entries_are_listed_with_their_tags_where_they_have_some(path: Path, run: Run) -> None:
    async def add() -> None:
        backend = SQLiteBackend(str(path))
        await backend.write(entry("dd1", "http://d.test/two", tagging=Tagging(("user:7", "users"))))
        await backend.write(entry("dd2", "http://d.test/many", tagging=Tagging(tuple(f"t{n}" for n in range(256)))))
        await backend.close()

    asyncio.run(add())
    _, said, _ = run("ls", "--sort", "url")
    assert [line.partition(" http://")[2] for line in said.splitlines()[1:]] == [
        "a.test/large",
        "a.test/small",
        "b.test/coloured [tag red]",
        f"b.test/stale [principal {short_id('tenant-7')}]",
        "d.test/many [tags t0, t1, t2 and 253 more]",
        "d.test/two [tags user:7, users]",
    ]
    assert [len(each["tags"]) for each in json.loads(run("ls", "--json", "--sort", "url")[1])] == [0, 0, 1, 0, 256, 2]


def test_a_script_gets_all_that_is_stored_unless_it_says_how_many_and_people_are_told_what_is_left_out(
    path: Path, run: Run
) -> None:
    async def add() -> None:
        backend = SQLiteBackend(str(path))
        for number in range(101):
            await backend.write(entry(f"dd{number}", f"http://{number % 15}.test/{number}"))
        await backend.close()

    asyncio.run(add())
    hosts = json.loads(run("stats", "--json")[1])["hosts"]
    assert (len(listed(run)), len(hosts), sum(host["entries"] for host in hosts)) == (105, 17, 105)
    assert len(json.loads(run("stats", "--json", "--limit", "3")[1])["hosts"]) == 3
    assert run("ls")[1].splitlines()[-1] == "… and 5 more; --limit 0 shows all"
    assert run("stats")[1].splitlines()[-1] == "… and 7 more; --limit 0 shows all"
    assert "more" not in run("stats", "--limit", "0")[1]


def test_what_is_stored_is_no_command_for_a_terminal(path: Path, run: Run) -> None:
    odd = "http://b.test/\x1b[31m"
    planted = pack_info(info_of(entry("bb2", odd, raw_headers=TAG)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE \"cache:responses\" SET info = ? WHERE key = 'bb2'", (planted,))
    for arguments in (["ls"], ["show", "bb2"], ["stats"], ["explain", odd]):
        status, said, _ = run(*arguments)
        assert status == 0
        assert "\x1b" not in said


def test_heads_are_shown_without_secrets(path: Path, run: Run) -> None:
    status, said, _ = run("show", "bb")
    assert (status, "Set-Cookie: …" in said, "hunter2" in said, "tenant-7" in said) == (0, True, False, False)
    status, said, _ = run("show", "http://a.test/small", "--json")
    (shown,) = json.loads(said)
    assert (shown["key"], shown["headers"]) == ("aa1", [["Content-Type", "text/plain"]])
    assert run("show", "http://a.test/none")[0] == 1


async def _keep(path: Path, each: StoredResponse) -> None:
    backend = SQLiteBackend(str(path))
    await backend.write(each)
    await backend.close()


def test_a_field_that_may_give_access_is_shown_without_its_value(path: Path, run: Run) -> None:
    headers = ((b"X-Api-Key", b"LEAK"), (b"X-Auth-Token", b"LEAK"), (b"X-Plain", b"told"))
    asyncio.run(_keep(path, entry("cc1", "http://c.test/", raw_headers=headers)))
    for arguments in (["show", "cc1"], ["show", "cc1", "--json"]):
        said = run(*arguments)[1]
        assert ("LEAK" in said, "told" in said) == (False, True)


def test_stats_adds_up_all_entries(path: Path, run: Run) -> None:
    status, said, _ = run("stats", "--json")
    told = json.loads(said)
    assert (status, told["entries"], told["fresh"], told["body_bytes"]) == (0, 4, 3, 3012)
    assert told["hosts"][0] == {"host": "a.test", "entries": 2, "body_bytes": 3004}
    assert told["bytes_on_disk"] >= told["bytes_in_use"] > 0
    assert "75% of them fresh" in run("stats")[1]


def test_what_is_selected_is_purged_and_nothing_else(path: Path, run: Run) -> None:
    assert run("purge", "--host", "a.test", "--dry-run")[1] == "2 entries, 2.9 KiB: would be dropped\n"
    assert run("purge", "--url", "http://a.test/small", "--soft")[1] == "1 entry, 4 B: made stale\n"
    assert listed(run, "--expired") == ["aa1", "bb1"]
    status, said, _ = run("purge", "--host", "a.test", "--json")
    assert (status, json.loads(said)["entries"]) == (0, 2)
    assert listed(run) == ["bb2", "bb1"]


def test_everything_is_purged_only_where_that_is_sure(path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("purge")[0] == 2
    assert run("purge", "--all")[0] == 2

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answered, left in (("n\n", 4), ("\n", 4), ("y\n", 0)):
        monkeypatch.setattr("sys.stdin", Terminal(answered))
        assert run("purge", "--all")[0] == 0
        assert len(listed(run)) == left
    assert run("purge", "--all", "--yes")[0] == 0


def test_what_is_too_old_or_too_much_is_pruned(path: Path, run: Run) -> None:
    status, said, _ = run("prune", "--max-age", "1h", "--json")
    assert (status, json.loads(said)) == (0, {"expired": 0, "old": 1, "too_much": 0, "left": 3})
    status, said, _ = run("prune", "--max-size", "9", "--json")
    assert (status, json.loads(said)["too_much"], json.loads(said)["left"]) == (0, 1, 2)
    size = json.loads(run("stats", "--json")[1])["body_bytes"]
    status, said, _ = run("prune", "--max-size", f"{size}", "--json")
    assert (status, json.loads(said)["too_much"], json.loads(said)["left"]) == (0, 0, 2)


def test_check_tests_the_store(path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    status, said, _ = run("check", "--json")
    told = json.loads(said)
    assert (status, told["ok"], told["where"]) == (0, True, f"sqlite at {path}")
    assert run("check")[1].startswith("ok: ")
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", "redis://:hunter2secret@127.0.0.1:1/0")
    for command in ("check", "ls", "stats"):
        status, said, error = run(command)
        assert (status, said) == (1, "")
        assert "127.0.0.1:1" in error
        assert "hunter2secret" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "--match", "[z-a]"],
        ["ls", "--url", "/no/host"],
        ["ls", "--older-than", "soon"],
        ["purge", "--larger-than", "big"],
        ["prune", "--max-size", "big"],
        ["prune", "--max-age", "soon"],
        ["warm"],
        ["warm", "nonsense"],
        ["warm", "ftp://a.test/"],
        ["warm", "--file", "missing.txt"],
        ["explain", "ftp://a.test/"],
        ["explain", "http://a.test/", "--header", "no colon"],
        ["ls", "--prefix", ""],
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_with_2_and_change_nothing(path: Path, run: Run, arguments: list[str]) -> None:
    status, said, error = run(*arguments)
    assert (status, said) == (2, "")
    assert error.count("\n") == 1
    assert len(listed(run)) == 4


def test_a_cache_that_cannot_be_seen_or_is_not_there_is_said_so(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(tmp_path / "none.sqlite"))
    status, _, error = run("ls")
    assert (status, error.endswith("none.sqlite: nothing is stored there\n")) == (1, True)
    assert not (tmp_path / "none.sqlite").exists()
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")
    assert run("ls")[0] == 2


def test_another_cache_is_named_by_its_prefix(path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOHTTP_CACHE_SQLITE__PATH")
    monkeypatch.setenv("GEO_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("GEO_CACHE_SQLITE__PATH", str(path))
    assert len(listed(run, "--prefix", "GEO_CACHE_")) == 4


def test_what_would_be_done_is_explained(path: Path, run: Run) -> None:
    status, said, hint = run("explain", "http://a.test/none", "--header", "Accept: text/plain")
    assert (status, "Fetch: aiohttp-cache-di; fwd=uri-miss" in said) == (0, True)
    assert hint == "aiohttp-cache: `warm` requests it, and says why a response is not stored\n"
    assert run("explain", "http://a.test/small")[2] == ""
    status, said, _ = run("explain", "-X", "POST", "http://a.test/small", "--json")
    told = json.loads(said)
    assert (told["decision"], [info["key"] for info in told["stored"]]) == ("Bypass", ["aa1"])


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_what_would_be_done_is_explained_though_the_store_is_down(
    run: Run, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", "redis://:hunter2@127.0.0.1:1")
    status, said, wrong = run("explain", "http://a.test/items", *form)
    assert status == 1
    assert wrong.startswith("aiohttp-cache: The store redis://127.0.0.1:1")
    assert wrong.count("\n") == 1
    assert "hunter2" not in said + wrong
    if form:
        assert (json.loads(said)["decision"], json.loads(said)["store_error"] in wrong) == ("Fetch", True)
    else:
        assert said.splitlines()[1] == "Fetch: aiohttp-cache-di; fwd=miss"


def test_what_is_stored_is_copied_to_another_cache(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEW_CACHE_BACKEND", "filesystem")
    monkeypatch.setenv("NEW_CACHE_FILESYSTEM__PATH", str(tmp_path / "files"))
    status, said, _ = run("copy", "--to-prefix", "NEW_CACHE_", "--host", "a.test", "--json")
    assert (status, json.loads(said)) == (0, {"copied": 2, "left": 0, "reasons": {}})
    assert listed(run, "--prefix", "NEW_CACHE_") == ["aa2", "aa1"]
    assert run("copy", "--to-prefix", "NEW_CACHE_", "--expired")[1] == "1 entry copied\n"
    assert listed(run, "--prefix", "NEW_CACHE_", "--expired") == ["bb1"]


@pytest.mark.parametrize("server", ["secantus", "ministack"])
def test_an_empty_store_gets_the_secret_of_the_cache_that_is_copied_to_it(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, server: str
) -> None:
    url = request.getfixturevalue(server).url
    monkeypatch.setenv("NEW_CACHE_CACHE_NAME", f"copy-{uuid.uuid4().hex}")
    monkeypatch.setenv("NEW_CACHE_STORAGE_DEADLINE", "5s")
    if server == "secantus":
        monkeypatch.setenv("NEW_CACHE_BACKEND", "mongodb")
        monkeypatch.setenv("NEW_CACHE_MONGODB__URL", url)
    else:
        monkeypatch.setenv("NEW_CACHE_BACKEND", "dynamodb")
        monkeypatch.setenv("NEW_CACHE_DYNAMODB__ENDPOINT", url)
        monkeypatch.setenv("NEW_CACHE_DYNAMODB__REGION", "eu-west-1")
        monkeypatch.setenv("NEW_CACHE_DYNAMODB__CREATE_TABLE", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    for _ in range(2):  # also where it is there by now
        status, said, error = run("copy", "--to-prefix", "NEW_CACHE_", "--json")
        assert (status, error, json.loads(said)) == (0, "", {"copied": 4, "left": 0, "reasons": {}})


def test_what_the_target_has_no_room_for_is_not_counted_as_copied(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEW_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("NEW_CACHE_SQLITE__PATH", str(tmp_path / "new.sqlite"))
    monkeypatch.setenv("NEW_CACHE_MAX_ENTRIES", "3")
    status, said, _ = run("copy", "--to-prefix", "NEW_CACHE_", "--json")
    kept = len(listed(run, "--prefix", "NEW_CACHE_"))
    assert kept < 4
    assert (status, json.loads(said)) == (0, {"copied": kept, "left": 4 - kept, "reasons": {"evicted": 4 - kept}})


def test_what_is_purged_by_its_tag_in_the_target_is_not_counted_as_copied(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEW_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("NEW_CACHE_SQLITE__PATH", str(tmp_path / "new.sqlite"))

    async def add() -> None:
        backend = SQLiteBackend(str(path))
        await backend.write(entry("cc1", "http://c.test/", tagging=Tagging(("users",))))
        await backend.close()

    asyncio.run(add())
    assert run("copy", "--to-prefix", "NEW_CACHE_")[1] == "5 entries copied\n"
    assert run("purge", "--tag", "users", "--prefix", "NEW_CACHE_")[0] == 0
    status, said, _ = run("copy", "--to-prefix", "NEW_CACHE_")
    assert (status, said) == (0, "4 entries copied, 1 left\n\nLEFT  WHY\n   1  a tag of it was purged there\n")
    assert listed(run, "--prefix", "NEW_CACHE_", "--tag", "users") == []
    assert listed(run, "--tag", "users") == ["cc1"]


def test_what_cannot_be_read_is_not_passed_over_in_silence_by_a_copy(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEW_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("NEW_CACHE_SQLITE__PATH", str(tmp_path / "new.sqlite"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("""UPDATE "cache:responses" SET body = zeroblob(300) WHERE key = 'aa1'""")
    status, said, error = run("copy", "--to-prefix", "NEW_CACHE_", "--json")
    assert (status, json.loads(said)) == (0, {"copied": 3, "left": 1, "reasons": {"unread": 1}})
    assert error.startswith("warning: 1 of what is stored could not be read")


def test_a_file_that_is_copied_from_is_not_changed(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEW_CACHE_BACKEND", "filesystem")
    monkeypatch.setenv("NEW_CACHE_FILESYSTEM__PATH", str(tmp_path / "files"))
    before = path.read_bytes()
    assert run("copy", "--to-prefix", "NEW_CACHE_")[0] == 0
    assert path.read_bytes() == before
    path.write_bytes(b"garbage" * 1000)
    status, _, error = run("copy", "--to-prefix", "NEW_CACHE_")
    assert (status, "the file is damaged" in error, path.read_bytes()) == (1, True, b"garbage" * 1000)


def test_of_a_file_that_keeps_no_secret_what_needs_one_is_left(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEW_CACHE_BACKEND", "filesystem")
    monkeypatch.setenv("NEW_CACHE_FILESYSTEM__PATH", str(tmp_path / "files"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DELETE FROM aiohttp_cache_di WHERE name = ?", (KEPT,))
    status, said, _ = run("copy", "--to-prefix", "NEW_CACHE_", "--json")
    assert (status, json.loads(said)) == (0, {"copied": 3, "left": 1, "reasons": {"secret": 1}})


def test_what_another_secret_would_not_find_again_is_not_copied(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEW_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("NEW_CACHE_SQLITE__PATH", str(tmp_path / "new.sqlite"))
    monkeypatch.setenv("NEW_CACHE_SECRET_KEY", "0123456789abcdef")
    status, said, _ = run("copy", "--to-prefix", "NEW_CACHE_", "--match", "*/s*", "--json")
    assert (status, json.loads(said)) == (0, {"copied": 1, "left": 1, "reasons": {"secret": 1}})
    assert listed(run, "--prefix", "NEW_CACHE_") == ["aa1"]
    monkeypatch.setenv("NEW_CACHE_CACHE_CONTROL", "false")
    assert run("copy", "--to-prefix", "NEW_CACHE_")[0] == 2
    assert run("copy", "--to-prefix", "AIOHTTP_CACHE_")[0] == 2


def test_urls_are_requested_so_that_they_are_stored(path: Path, run: Run, tmp_path: Path) -> None:
    with running_origin() as origin, closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens there
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        (tmp_path / "urls.txt").write_text(f"# those of a deployment\n{origin.url}/a\n\n{origin.url}/b\n")
        status, said, error = run("warm", "--file", "urls.txt", f"{origin.url}/a")
        assert (status, said, error) == (0, "2 requested: 2 stored, 0 were there, 0 failed\n", "")
        assert origin.hits == 2
        status, said, _ = run("warm", f"{origin.url}/a", nowhere, "--concurrency", "1")
        assert status == 1
        lines = said.splitlines()
        assert lines[1].split()[:4] == ["failed", "-", nowhere, "ClientConnectorError:"]
        assert lines[-1] == "2 requested: 0 stored, 1 were there, 1 failed"
        assert len(listed(run, "--match", f"{origin.url}/*")) == 2


def test_an_error_of_a_url_that_is_requested_shows_no_secret(path: Path, run: Run) -> None:
    with running_origin() as origin:
        endless = f"{origin.url}/a?token=s3cret&location=itself"
        nowhere = f"{origin.url}/a?token=s3cret&location=http://:80/?token%3Ds3cret"
        for url, error in ((endless, "TooManyRedirects"), (nowhere, "InvalidUrlRedirectClientError")):
            for form in ((), ("--json",)):
                status, said, _ = run("warm", url, *form)
                assert (status, f"{error}: " in said, "s3cret" in said) == (1, True, False), said
    for url in ("http://h:99999/?token=s3cret", "ftp://u:s3cret@h/"):
        status, _, error = run("warm", url)
        assert (status, "URL" in error, "s3cret" in error) == (2, True, False), error


def test_a_url_that_was_not_stored_is_reported_with_the_reason(path: Path, run: Run) -> None:
    with running_origin() as origin:
        stored, left = f"{origin.url}/a", f"{origin.url}/b?cache-control=no-store"
        status, said, _ = run("warm", stored, left)
        lines = said.splitlines()
        assert status == 1
        assert lines[0].split() == ["RESULT", "REASON", "URL", "WHY"]
        assert lines[1].split()[:4] == ["not", "stored", "no-store", left]
        assert lines[1].endswith("not stored: request or response forbids it")
        assert lines[-1] == "2 requested: 1 stored, 0 were there, 1 not stored, 0 failed"
        status, said, _ = run("warm", stored, left, "--json")
        told = {each["url"]: (each["result"], each["reason"], each["error"]) for each in json.loads(said)}
        assert (status, told) == (1, {stored: ("was there", "", ""), left: ("not stored", "no-store", "")})


def test_a_reader_that_has_seen_enough_is_no_failure(path: Path) -> None:
    async def fill() -> None:
        backend = SQLiteBackend(str(path))
        await asyncio.gather(*(backend.write(entry(f"c{n}", f"http://c.test/{n}/{'x' * 500}")) for n in range(300)))
        await backend.close()

    asyncio.run(fill())
    command = [sys.executable, "-m", "aiohttp_cache_di", "ls", "--json", "--limit", "0"]  # more than a pipe holds
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        try:
            assert running.stdout.read(1) == b"["
            running.stdout.close()
            assert (running.wait(60), running.stderr.read()) == (0, b"")
        finally:
            running.kill()
