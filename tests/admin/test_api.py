"""The API of the page, on caches of every kind of trouble."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from aiohttp_cache_di import CachedSession, FileBackend
from aiohttp_cache_di.admin import ENDPOINTS, Admin, AdminRequest, Name
from aiohttp_cache_di.admin import listing as listing_module
from aiohttp_cache_di.admin import questions as questions_module
from aiohttp_cache_di.admin.preview import PREVIEW_BYTES
from aiohttp_cache_di.admin.shapes import (
    CachesAnswer,
    EntriesAnswer,
    EntryAnswer,
    ExplainAnswer,
    NowAnswer,
    PurgeAnswer,
    StoreAnswer,
    UpstreamsAnswer,
)
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.policy.decisions import RequestDecision
from tests.admin.asking import TOKEN, ask, ask_json, change, told
from tests.backends.entries import make_entry
from tests.origin import Origin

SECRET = "hunter2-hunter2"


@pytest.fixture
def admin() -> Admin:
    return Admin(is_local=True)


@pytest.fixture(params=["memory", "sqlite", "files"])
async def session(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CachedSession]:
    """A session whose cache has some entries."""
    options: dict[str, Any] = {"cache_control": True}
    makers: dict[str, Callable[[], CacheBackend]] = {
        "memory": lambda: CacheBackend("shop", **options),
        "sqlite": lambda: SQLiteBackend(str(tmp_path / "shop.sqlite"), **options),
        "files": lambda: FileBackend(str(tmp_path / "shop"), **options),
    }
    backend = makers[request.param]()
    async with CachedSession(cache=backend) as made:
        await fill(backend)
        yield made


async def fill(backend: CacheBackend) -> None:
    now = time.time()
    for number in range(30):
        at = now - 60 * number
        entry = replace(
            make_entry(f"{number:040x}", b"x" * (number + 1)),
            url=f"https://{'a' if number % 3 else 'b'}.test/items/{number}",
            requested_at=at,
            received_at=at,
            created_at=at,
            fresh_until=at + 570,  # until half a minute before the next one is as old: the first ten are fresh
            partition="digest-of-credentials" if number == 7 else "",
            raw_headers=(
                (b"Content-Type", b"application/json"),
                (b"Cache-Tag", b"even" if number % 2 == 0 else b"odd"),
            ),
        )
        await backend.write(entry)


async def refusal(
    admin: Admin, session: CachedSession | None, name: Name, asked: AdminRequest, status: int, number: str = "0"
) -> Any:
    reply = await admin.answer(name, asked, [("cached_session", session)], number)
    error = told(reply)["error"]
    assert (reply.status, error["status"]) == (status, status), error
    assert error["message"]
    return error


async def test_the_caches_of_the_app_are_listed_with_a_token(admin: Admin, session: CachedSession) -> None:
    reply = await admin.answer("caches", ask(), [("cached_session", session), ("weather", None)])
    found = told(reply)
    first, second = found["caches"]
    assert (first["number"], first["name"], first["is_open"]) == (0, "shop", True)
    assert first["store"] == type(session.cache).__name__
    assert second == {"number": 1, "name": "weather", "is_open": False, "store": "", "where": "", "mode": ""}
    assert f"aiohttp_cache_admin={found['token']}" in reply.headers["Set-Cookie"]
    assert found["worker"]["pid"] > 0
    assert found["bounds"]["may_change"]


async def test_the_worker_counts_since_its_cache_was_made_and_not_since_the_first_look(
    admin: Admin, session: CachedSession
) -> None:
    began = session.cache.stats.since
    session.cache.stats.since = began - 1000
    assert time.time() - 60 < began < time.time()
    for name in ("caches", "now"):
        assert (await ask_json(admin, session, name))["worker"]["since"] == began - 1000
    none = told(await admin.answer("caches", ask(), [("cached_session", None)]))
    assert none["worker"]["since"] > began - 1000


async def test_caches_of_one_name_are_told_apart(admin: Admin, session: CachedSession) -> None:
    found = told(await admin.answer("caches", ask(), [("one", session), ("two", session)]))
    assert [one["name"] for one in found["caches"]] == ["shop", "shop-2"]


async def test_current_counts_are_those_of_this_worker(admin: Admin, session: CachedSession, origin: Origin) -> None:
    admin.watch(session)
    for _ in range(3):
        async with session.get(f"{origin.url}/x") as response:
            await response.read()
    found = await ask_json(admin, session, "now")
    assert (found["health"], found["is_all"], found["counters"]["requests"]) == ("ok", True, 3)
    assert found["saved"]["requests"] == found["counters"]["hits"]
    results = [sample["results"] for sample in found["samples"]]
    assert sum(sum(each.values()) for each in results) == 3
    assert [one["requests"] for one in found["busiest"]] == [3]
    newest, me = found["samples"][-1]["at"], found["worker"]["id"]
    later = await ask_json(admin, session, "now", after=str(newest), worker=me)
    assert (later["samples"], later["is_all"]) == ([], False)
    others = await ask_json(admin, session, "now", after=str(newest), worker="another")
    assert others["is_all"]


async def test_a_worker_that_leaves_counts_no_more(admin: Admin, session: CachedSession, origin: Origin) -> None:
    admin.watch(session)
    admin.leave(session)
    async with session.get(f"{origin.url}/x") as response:
        await response.read()
    assert (await ask_json(admin, session, "now"))["samples"] == []


async def test_the_store_is_asked_for_what_is_in_it(admin: Admin, session: CachedSession) -> None:
    found = await ask_json(admin, session, "store")
    assert (found["entries"], found["checked"]) == (30, None)
    checked = await ask_json(admin, session, "check", change())
    assert (checked["entries"], checked["checked"]) == (30, "")
    hosts = await ask_json(admin, session, "upstreams")
    assert hosts["hosts"] == 2
    assert [one["host"] for one in hosts["largest"]] == ["a.test", "b.test"]
    assert sum(one["entries"] for one in hosts["largest"]) == 30
    assert sum(one["fresh"] for one in hosts["largest"]) == 10


async def test_entries_are_searched_sorted_and_paged_in_the_store(admin: Admin, session: CachedSession) -> None:
    first = await ask_json(admin, session, "entries", sort="size", order="desc", limit="2")
    assert (first["total"], first["reachable"], first["body_bytes"]) == (30, 30, sum(range(1, 31)))
    assert [row["body_bytes"] for row in first["entries"]] == [30, 29]
    second = await ask_json(
        admin, session, "entries", sort="size", order="desc", limit="2", offset="2", listing=first["listing"]
    )
    assert [row["body_bytes"] for row in second["entries"]] == [28, 27]
    assert second["listing"] == first["listing"]
    found = await ask_json(admin, session, "entries", q="B.test 200", tag="even", state="fresh", sort="stored")
    assert [row["url"][-8:] for row in found["entries"]] == ["/items/0", "/items/6"]
    assert all(row["is_fresh"] for row in found["entries"])
    assert (await ask_json(admin, session, "entries", host="b.test", larger_than="20"))["total"] == 3
    assert (await ask_json(admin, session, "entries", match="a.test/items/1*", older_than="10m"))["total"] == 7


async def test_a_partition_is_a_short_id_and_no_credential(admin: Admin, session: CachedSession) -> None:
    (row,) = [row for row in (await ask_json(admin, session, "entries"))["entries"] if row["partition"]]
    assert len(row["partition"]) == 8
    found = await ask_json(admin, session, "entries", partition=row["partition"])
    assert [each["key"] for each in found["entries"]] == [row["key"]]
    assert "digest-of-credentials" not in json.dumps(await ask_json(admin, session, "entry", key=row["key"]))


async def test_an_entry_is_shown_with_its_head_and_the_beginning_of_its_body(
    admin: Admin, session: CachedSession
) -> None:
    lines = ((b"Content-Type", b"text/html"), (b"Set-Cookie", f"sid={SECRET}".encode()), (b"X-\xff", b"\xfe"))
    await session.cache.write(replace(make_entry("k" * 40, b"<b>x</b>" * 10_000), raw_headers=lines))
    found = await ask_json(admin, session, "entry", key="k" * 40)
    assert (found["http"], found["reason"], found["row"]["status"]) == ("1.1", "OK", 200)
    assert {"name": "Set-Cookie", "value": None} in found["headers"]
    assert found["preview"]["text"].startswith("<b>x</b>")
    assert not found["preview"]["is_whole"]
    assert SECRET not in json.dumps(found)
    await session.cache.write(make_entry("h" * 40, b"<b>x</b>" * 1_000_000))
    huge = (await ask_json(admin, session, "entry", key="h" * 40))["preview"]
    assert (huge["of_bytes"], len(huge["text"]), huge["is_whole"]) == (PREVIEW_BYTES, PREVIEW_BYTES, False)
    off = Admin(is_local=True, previews=False)
    assert (await ask_json(off, session, "entry", key="k" * 40))["preview"]["kind"] == "off"
    await refusal(admin, session, "entry", ask(), 400)


async def test_what_an_entry_says_is_never_anything_but_text(admin: Admin, session: CachedSession) -> None:
    evil = "<img src=x onerror=alert(1)>\u202e"
    entry = replace(
        make_entry("e" * 40, evil.encode()),
        url=f"https://a.test/{evil}\ud800",
        method="GET",
        raw_headers=((evil.encode(), evil.encode()), (b"Cache-Tag", b"<script>"), (b"Content-Type", evil.encode())),
        vary_fields=("accept\u2028",),
    )
    if isinstance(session.cache, SQLiteBackend | FileBackend):
        # A file gives back what a cache may have stored, and nothing else.
        lines = ((b"X-Evil", evil.encode()), (b"Cache-Tag", b"<script>"), (b"Content-Type", evil.encode()))
        entry = replace(entry, url="https://a.test/<script>", raw_headers=lines, vary_fields=())
    await session.cache.write(entry)
    for found in (
        await ask_json(admin, session, "entry", key="e" * 40),
        await ask_json(admin, session, "entries", sort="url"),
    ):
        text = json.dumps(found, ensure_ascii=False)
        assert "\u202e" not in text
        assert "\u2028" not in text


async def test_a_dry_run_only_counts_and_a_purge_deletes(admin: Admin, session: CachedSession) -> None:
    dry = await ask_json(admin, session, "purge", change({"host": "b.test", "dry_run": True}))
    assert dry == {"entries": 10, "bytes": sum(range(1, 31, 3)), "soft": False, "dry_run": True}
    assert (await ask_json(admin, session, "store"))["entries"] == 30
    await ask_json(admin, session, "entries")
    done = await ask_json(admin, session, "purge", change({"host": "b.test"}))
    assert done["entries"] == 10
    assert (await ask_json(admin, session, "entries"))["total"] == 20
    assert (await ask_json(admin, session, "upstreams"))["hosts"] == 1
    await ask_json(admin, session, "purge", change({"all": True}))
    assert (await ask_json(admin, session, "store"))["entries"] == 0


async def test_a_soft_purge_makes_stale(admin: Admin, session: CachedSession) -> None:
    done = await ask_json(admin, session, "purge", change({"tags": ["odd"], "soft": True}))
    assert done == {"entries": 5, "bytes": 2 + 4 + 6 + 8 + 10, "soft": True, "dry_run": False}
    assert (await ask_json(admin, session, "entries", state="fresh"))["total"] == 5
    assert (await ask_json(admin, session, "store"))["entries"] == 30


async def test_a_purge_is_logged_with_the_caches_name_and_what_was_selected(
    admin: Admin, session: CachedSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aiohttp_cache_di.admin.questions")
    await ask_json(admin, session, "purge", change({"host": "b.test", "older_than": "1ms"}))
    await ask_json(admin, session, "purge", change({"url": "http://u:hunter2@a.test/?token=hunter2"}))
    await ask_json(admin, session, "purge", change({"match": "*/?token=hunter2", "soft": True}))
    await ask_json(admin, session, "purge", change({"all": True}))

    told = [message.partition(" entries of the cache ")[2] for message in caplog.messages]
    assert all(message.startswith(repr(session.cache.name)) for message in told)
    assert [message.partition("bytes: ")[2] for message in told] == [
        "host='b.test', older_than='1ms'",
        "url='http://a.test/?token=REDACTED'",
        "match",
        "all",
    ]


async def test_all_of_one_partition_is_purged(admin: Admin, session: CachedSession) -> None:
    everyone = await ask_json(admin, session, "purge", change({"partition": "-", "dry_run": True}))
    assert everyone["entries"] == 29
    rows = (await ask_json(admin, session, "entries", sort="partition", order="desc"))["entries"]
    assert (await ask_json(admin, session, "purge", change({"partition": rows[0]["partition"]})))["entries"] == 1
    assert (await ask_json(admin, session, "store"))["entries"] == 29
    await refusal(admin, session, "purge", change({"partition": ""}), 400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"soft": True},
        {"everything": True},
        {"all": "yes"},
        {"host": 7},
        {"url": "no url"},
        {"older_than": "soon"},
        {"all": True, "host": "a.test"},
        {"host": "", "expired": True},
        {"host": "https://a.test/"},
        {"match": ["/v1/*"]},
        {"tags": []},
        {"older_than": "9" * 400},
        [],
        b"{",
        b"",
        b"\xff",
        b"[" * 5000,
    ],
)
async def test_a_purge_that_says_nothing_that_can_be_meant_is_refused(
    admin: Admin, session: CachedSession, body: Any
) -> None:
    await refusal(admin, session, "purge", change(body), 400)
    assert (await ask_json(admin, session, "store"))["entries"] == 30


async def test_a_body_that_is_too_long_is_refused(admin: Admin, session: CachedSession) -> None:
    await refusal(admin, session, "purge", change({"host": "x" * 70_000}), 413)


async def test_changes_need_the_token_and_a_page_that_may_change(admin: Admin, session: CachedSession) -> None:
    for name in ("purge", "explain", "check"):
        error = await refusal(admin, session, name, change({"all": True}, token="u" * 43), 403)
        assert error["code"] == "token"
    read_only = Admin(is_local=True, read_only=True)
    error = await refusal(read_only, session, "purge", change({"all": True, "dry_run": True}), 403)
    assert error["code"] == "read-only"
    assert (await ask_json(admin, session, "store"))["entries"] == 30
    assert TOKEN not in (await admin.answer("caches", ask(), [("cached_session", session)])).body.decode()


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "201"},
        {"limit": "-1"},
        {"offset": "x"},
        {"offset": "9" * 20},
        {"sort": "nothing"},
        {"order": "up"},
        {"state": "dead"},
        {"q": "x" * 5000},
        {"q": "a " * 20},
        {"unknown": "1"},
        {"older_than": "soon"},
        {"larger_than": "-3"},
        {"host": "https://a.test/items"},
        {"match": "/v1/*"},
    ],
)
async def test_a_question_that_cannot_be_is_refused(
    admin: Admin, session: CachedSession, query: dict[str, str]
) -> None:
    error = await refusal(admin, session, "entries", ask(query=query), 400)
    assert error["code"] == "bad-request"


async def test_a_parameter_that_comes_twice_is_refused(admin: Admin, session: CachedSession) -> None:
    asked = ask()
    asked.query = [("sort", "url"), ("sort", "size")]
    assert "comes twice" in (await refusal(admin, session, "entries", asked, 400))["message"]


@pytest.mark.parametrize("key", ["", "no key", "<b>"])
async def test_a_key_that_is_none_is_refused_and_one_that_is_gone_is_not_found(
    admin: Admin, session: CachedSession, key: str
) -> None:
    error = await refusal(admin, session, "entry", ask(query={"key": key}), 400)
    assert (error["code"], f"key={key!r}" in error["message"]) == ("bad-request", True)
    await refusal(admin, session, "entry", ask(query={"key": "f" * 40}), 404)


@pytest.mark.parametrize("number", ["1", "-1", "x", "", "9999999", "²"])
async def test_a_cache_that_is_not_there_is_not_found(admin: Admin, session: CachedSession, number: str) -> None:
    await refusal(admin, session, "now", ask(), 404, number)


async def test_a_cache_that_is_not_open_is_reported_as_closed(admin: Admin, session: CachedSession) -> None:
    assert (await refusal(admin, None, "now", ask(), 503))["code"] == "closed"
    await session.close()
    assert (await refusal(admin, session, "now", ask(), 503))["code"] == "closed"


async def test_explain_says_what_a_request_of_the_session_would_do(admin: Admin, session: CachedSession) -> None:
    wish = {"url": "https://a.test/items/1", "headers": [["Authorization", f"Bearer {SECRET}"]]}
    found = await ask_json(admin, session, "explain", change(wish))
    assert (found["method"], found["decision"]) == ("GET", "Fetch")
    assert [step["question"] for step in found["steps"]][:2] == ["method", "no_store"]
    assert [row["url"] for row in found["stored"]] == ["https://a.test/items/1"]
    assert SECRET not in json.dumps(found)
    again = await ask_json(
        admin, session, "explain", change({"url": "https://a.test/items/1", "principal": "tenant-7"})
    )
    assert len(again["partition"]) == 8


@pytest.mark.parametrize(
    "wish", [{"url": ""}, {"url": "/no/base"}, {"url": "https://a.test/", "headers": [["a"]]}, {}, {"url": 1}]
)
async def test_a_request_that_cannot_be_made_is_not_explained(admin: Admin, session: CachedSession, wish: Any) -> None:
    await refusal(admin, session, "explain", change(wish), 400)


STORE_NAMES: tuple[tuple[Name, AdminRequest], ...] = (
    ("store", ask()),
    ("entries", ask()),
    ("entry", ask(query={"key": "0" * 40})),
    ("check", change()),
    ("purge", change({"all": True})),
)


async def test_a_store_that_is_down_is_reported_and_the_worker_goes_on() -> None:
    backend = RedisBackend("admin", address=f"redis://:{SECRET}@127.0.0.1:1/0", cache_control=True)
    admin = Admin(is_local=True)
    async with CachedSession(cache=backend) as session:
        for name, asked in STORE_NAMES:
            if name == "entry":  # a look-up that fails is a miss, as it is for requests
                continue
            error = await refusal(admin, session, name, asked, 503)
            assert error["code"] == "store-failed"
            assert "127.0.0.1:1" in error["message"]
            assert SECRET not in error["message"]
        hosts = await ask_json(admin, session, "upstreams")
        assert hosts["largest"] is None
        assert "127.0.0.1:1" in hosts["reason"]
        found = await ask_json(admin, session, "now")
        assert found["health"] == "degraded"


async def test_a_store_that_hangs_is_given_up(
    admin: Admin, session: CachedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(questions_module, "ANSWER_WITHIN_S", 0.05)
    monkeypatch.setattr(session.cache, "usage", hang)
    monkeypatch.setattr(session.cache, "ping", hang)
    error = await refusal(admin, session, "store", ask(), 503)
    assert "did not answer in time" in error["message"]


async def test_a_store_with_more_entries_than_can_be_counted_in_time_works_all_the_same(
    admin: Admin, session: CachedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = 0

    async def count(*_: Any, **__: Any) -> Any:
        nonlocal counts
        counts += 1
        await asyncio.Event().wait()

    monkeypatch.setattr(questions_module, "ANSWER_WITHIN_S", 0.05)
    monkeypatch.setattr(session.cache, "usage", count)
    found = await ask_json(admin, session, "store")
    assert (found["entries"], found["bytes_in_use"], found["checked"]) == (None, None, None)
    monkeypatch.setattr(questions_module, "ANSWER_WITHIN_S", 10.0)
    checked = await ask_json(admin, session, "check", change())
    assert (checked["entries"], checked["checked"]) == (None, "")
    assert counts == 1  # the page asks every few seconds, which must not keep the store busy


async def test_a_search_that_finds_nothing_in_time_tells_a_large_store_from_one_that_hangs(
    admin: Admin, session: CachedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def search(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()
        yield

    async def hang(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(listing_module, "WITHIN_S", 0.05)
    monkeypatch.setattr(session.cache, "entries", search)
    found = await ask_json(admin, session, "entries", ask(query={"host": "a.test"}))
    assert (found["total"], found["is_all"]) == (0, False)
    monkeypatch.setattr(questions_module, "ANSWER_WITHIN_S", 0.05)
    monkeypatch.setattr(session.cache, "ping", hang)
    error = await refusal(admin, session, "entries", ask(query={"host": "b.test"}), 503)
    assert "did not answer in time" in error["message"]


@pytest.mark.parametrize("raised", [StorageError("no"), OSError("disk"), RuntimeError("odd")])
async def test_whatever_a_store_raises_is_no_error_of_the_page(
    admin: Admin, session: CachedSession, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise raised

    monkeypatch.setattr(session.cache, "usage", fail)
    monkeypatch.setattr(session.cache, "purge", fail)
    for name, asked in (("store", ask()), ("purge", change({"all": True}))):
        error = await refusal(admin, session, name, asked, 503)  # type: ignore[arg-type]  # a Name
        assert error["code"] == "store-failed"


async def test_an_error_of_the_page_itself_is_logged_and_says_nothing(
    admin: Admin, session: CachedSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(asked: Any) -> Any:
        raise RuntimeError(SECRET)

    monkeypatch.setitem(questions_module.QUESTIONS, "now", fail)
    reply = await admin.answer("now", ask(), [("cached_session", session)], "0")
    assert (reply.status, told(reply)["error"]["code"]) == (500, "error")
    assert SECRET not in reply.body.decode()
    assert "The admin page failed on now" in caplog.text


async def test_the_page_runs_its_own_script_and_no_other(admin: Admin) -> None:
    reply = await admin.answer("page", ask(), [])
    policy = dict(part.split(" ", 1) for part in reply.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"].startswith("'sha256-")
    assert policy["style-src"].startswith("'sha256-")
    assert policy["connect-src"] == "'self'"
    assert policy["trusted-types"] == "'none'"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["X-Frame-Options"] == "DENY"
    document = reply.body.decode()
    assert "/* page." not in document
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://www.w3.org/1999"):
        assert sink not in document
    assert "https://" not in document.replace("https://api.example.org/items?page=1", "")  # nothing from elsewhere


SHAPES: tuple[tuple[Name, AdminRequest, type[Any]], ...] = (
    ("caches", ask(), CachesAnswer),
    ("now", ask(), NowAnswer),
    ("store", ask(), StoreAnswer),
    ("upstreams", ask(), UpstreamsAnswer),
    ("entries", ask(), EntriesAnswer),
    ("entry", ask(query={"key": "0" * 40}), EntryAnswer),
    ("check", change(), StoreAnswer),
    ("purge", change({"all": True, "dry_run": True}), PurgeAnswer),
    ("explain", change({"url": "https://a.test/items/0"}), ExplainAnswer),
)


async def test_each_answer_has_the_shape_that_is_documented(admin: Admin, session: CachedSession) -> None:
    for name, asked, shape in SHAPES:
        reply = await admin.answer(name, asked, [("cached_session", session)], "0")
        found = msgspec.json.decode(reply.body, type=shape)
        assert json.loads(msgspec.json.encode(found)) == json.loads(reply.body), name
    assert {name for name, _, _ in SHAPES} == {one.name for one in ENDPOINTS} - {"page"}


async def test_workers_of_one_store_take_each_others_tokens_and_see_each_others_purges(tmp_path: Path) -> None:
    place = str(tmp_path / "shared.sqlite")
    one, other = (CachedSession(cache=SQLiteBackend(place)) for _ in range(2))
    first, second = Admin(is_local=True), Admin(is_local=True)
    async with one, other:
        await fill(one.cache)
        token = told(await first.answer("caches", ask(), [("cached_session", one)]))["token"]
        listing = (await ask_json(second, other, "entries"))["listing"]
        assert (await ask_json(first, one, "entries", listing=listing))["total"] == 30
        await ask_json(second, other, "purge", change({"host": "b.test"}, cookie=token, token=token))
        first._watched[one.cache].listings.forget()
        assert (await ask_json(first, one, "entries"))["total"] == 20
        workers = {
            (await ask_json(admin, each, "now"))["worker"]["id"] for admin, each in ((first, one), (second, other))
        }
        assert len(workers) == 2


def test_the_page_knows_each_decision_that_explain_may_tell() -> None:
    script = (files("aiohttp_cache_di.admin") / "assets" / "script" / "explain.js").read_text(encoding="utf-8")
    decisions = {one.__name__ for one in get_args(RequestDecision)}
    assert [name for name in decisions if f"{name}: " not in script] == []


def test_there_is_an_endpoint_for_each_question() -> None:
    assert {one.name for one in ENDPOINTS} - {"page", "caches"} == questions_module.QUESTIONS.keys()
