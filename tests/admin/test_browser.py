"""The admin page in a real browser: what is seen, done by keyboard, kept inert, and refused to other sites."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from types import SimpleNamespace
from typing import Any, Unpack

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace

import aiohttp_cache_di_web as for_web
from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.admin import api as api_module
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.operating.selection import Selectors
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.entries.info import EntryInfo
from tests.admin.chromium import MISSING, NoBrowserError, Tab, browser_at, found, running_browser
from tests.backends.entries import make_entry
from tests.origin import Origin

pytestmark = [pytest.mark.skipif(found() is None, reason=MISSING), pytest.mark.timeout(180)]

OTHER = web.AppKey("OTHER", CachedSession)
MANY = 100_000
TICK = "document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))"  # at which the page asks at once


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A browser for the tests of this module; each has a profile of its own."""
    with ExitStack() as stack:
        try:
            address = stack.enter_context(running_browser(tmp_path_factory.mktemp("chromium")))
        except NoBrowserError as why:  # such as in a container that forbids what it needs
            pytest.skip(f"Chromium does not start here: {why}")
        yield address


@pytest.fixture
async def tab(chromium: str) -> AsyncIterator[Tab]:
    """A page of the browser; that it complained of anything is the test's to expect."""
    async with browser_at(chromium) as browser, browser.tab() as opened:
        yield opened


class Served:
    """An app with the page, and the sessions that it shows."""

    def __init__(self, url: str, sessions: list[CachedSession]) -> None:
        self.url = url
        self.sessions = sessions


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Serve apps until the test ends."""
    async with AsyncExitStack() as stack:

        async def serving(*backends: CacheBackend, **options: Any) -> Served:
            app = web.Application()
            keys = [for_web.CACHED_SESSION, OTHER][: len(backends)]
            sessions = [await stack.enter_async_context(CachedSession(cache=backend)) for backend in backends]
            for key, session in zip(keys, sessions, strict=True):
                app[key] = session
            for_web.add_admin(app, authorize=None, keys=keys, **options)
            server = TestServer(app)
            await server.start_server()
            stack.push_async_callback(server.close)
            return Served(str(server.make_url("/cache-admin/")), sessions)

        yield serving


async def fill(backend: CacheBackend, count: int = 30) -> None:
    now = time.time()
    for number in range(count):
        entry = replace(
            make_entry(f"{number:040x}", json.dumps({"number": number}).encode()),
            url=f"https://{'a' if number % 3 else 'b'}.test/items/{number}",
            created_at=now - number,
            fresh_until=now + (600 if number % 2 else -600),
            raw_headers=((b"Content-Type", b"application/json"), (b"Cache-Tag", b"red")),
            partition="digest-of-whom" if number == 4 else "",
        )
        await backend.write(entry)


async def shop() -> CacheBackend:
    backend = CacheBackend("shop", cache_control=True)
    await fill(backend)
    return backend


async def open_entries(tab: Tab, url: str) -> None:
    await tab.open(f"{url}#entries")
    await tab.until("document.querySelector('.rows .row .url') && grid.getAttribute('aria-busy') === 'false'")


async def active(tab: Tab) -> str:
    """What has the focus: its id, its name, or what it says."""
    told: str = await tab.js(
        "(() => { const at = document.activeElement;"
        " return at.id || at.getAttribute('aria-label') || at.textContent.trim() || at.tagName; })()"
    )
    return told


async def test_the_overview_shows_live_what_the_cache_does(tab: Tab, serve: Any, origin: Origin) -> None:
    served = await serve(await shop())
    await tab.open(served.url)
    await tab.until("document.getElementById('t-stored').textContent === '30'")
    assert await tab.text("#t-rate") == "0 /s"
    for _ in range(4):
        async with served.sessions[0].get(f"{origin.url}/a", expire_after=60) as response:
            await response.read()
    await tab.js(TICK)
    hits = served.sessions[0].cache.stats.hits
    await tab.until(f"document.getElementById('t-ratio').textContent.startsWith('{hits * 25}')")
    assert await tab.text("#health-text") == "healthy"
    assert await tab.js("document.querySelector('#plot-ratio .cached').getAttribute('d').length") > 5
    assert await tab.js("document.querySelector('#plot-latency .origin').getAttribute('d').length") > 5
    assert "a.test" in await tab.text("#largest")
    assert tab.complaints == []


async def test_entries_are_searched_sorted_and_opened(tab: Tab, serve: Any) -> None:
    served = await serve(await shop())
    await open_entries(tab, served.url)
    assert "30 entries" in await tab.text("#count")
    await tab.click("[role=columnheader].c-url button")
    await tab.until("document.querySelector('.rows .row .url').textContent === 'https://a.test/items/1'")
    assert await tab.js("document.querySelector('.head .c-url').getAttribute('aria-sort')") == "ascending"
    await tab.click("#q")
    await tab.type("b.test/items/2")
    await tab.until("document.getElementById('count').textContent.startsWith('3 entries')")
    await tab.click(".rows .row")
    await tab.until("document.querySelector('#detail pre')")
    assert json.loads(await tab.text("#detail pre"))["number"] in (21, 24, 27)
    await tab.click("#detail .top button")
    await tab.click("#clear")
    await tab.until("document.getElementById('count').textContent.startsWith('30 entries')")
    await tab.click("[role=columnheader].c-partition button")
    await tab.click("[role=columnheader].c-partition button")
    await tab.until("document.querySelector('.rows .c-partition').textContent.startsWith('principal ')")
    assert "digest-of-whom" not in await tab.js("document.body.textContent")
    assert tab.complaints == []


async def test_a_purge_is_counted_before_it_is_done(tab: Tab, serve: Any) -> None:
    backend = await shop()
    served = await serve(backend)
    await open_entries(tab, served.url)
    await tab.click("#open-purge")
    await tab.until("document.getElementById('purge').open")
    assert await tab.js("document.getElementById('p-go').disabled")
    await tab.click("#p-host")
    await tab.type("b.test")
    await tab.until("!document.getElementById('p-go').disabled")
    assert "10 entries" in await tab.text("#p-said")
    assert (await backend.usage()).entries == 30
    await tab.click("#p-soft")
    await tab.until("document.getElementById('p-said').textContent.includes('made stale')")
    await tab.click("#p-hard")
    await tab.until(
        "document.getElementById('p-go').textContent === 'Drop 10 entries' && !document.getElementById('p-go').disabled"
    )
    await tab.click("#p-go")
    await tab.until("!document.getElementById('purge').open")
    await tab.until("document.getElementById('count').textContent.startsWith('20 entries')")
    assert (await backend.usage()).entries == 20
    await tab.click("#open-purge")
    await tab.click("#p-all")
    await tab.until("document.getElementById('p-said').textContent.startsWith('20 entries')")
    assert await tab.js("document.getElementById('p-go').disabled")
    await tab.click("#p-confirm")
    await tab.type("shop")
    await tab.press("Enter")
    await tab.until("!document.getElementById('nothing').hidden")
    assert await tab.text("#nothing") == "Nothing is stored yet."
    assert (await backend.usage()).entries == 0
    assert tab.complaints == []


async def test_what_is_stored_for_one_principal_is_purged(tab: Tab, serve: Any) -> None:
    backend = await shop()
    (whose,) = {info.partition async for info in backend.entries()} - {""}
    served = await serve(backend)
    await open_entries(tab, served.url)
    await tab.click("#open-purge")
    await tab.click("#p-partition")
    await tab.type(whose)
    await tab.until("document.getElementById('p-said').textContent.startsWith('1 entry')")
    await tab.until("!document.getElementById('p-go').disabled")
    await tab.click("#p-go")
    await tab.until("!document.getElementById('purge').open")
    assert {info.partition async for info in backend.entries()} == {""}
    assert (await backend.usage()).entries == 29
    assert tab.complaints == []


async def test_a_request_is_explained(tab: Tab, serve: Any) -> None:
    served = await serve(await shop())
    await tab.open(f"{served.url}#explain")
    await tab.until("document.getElementById('cache').options.length")
    await tab.click("#e-url")
    await tab.type("https://a.test/items/1")
    await tab.press("Enter")
    await tab.until("document.querySelectorAll('.steps li').length > 2")
    assert (await tab.text("#answer h2")).startswith("Fetch")
    await tab.click("#e-headers")
    await tab.type("no header")
    await tab.click("#explain-form .primary")
    await tab.until("document.querySelector('#answer .bad')")
    assert tab.complaints == []


# ---- by keyboard


async def test_everything_is_reached_by_keyboard_in_order_and_nothing_traps(tab: Tab, serve: Any) -> None:
    served = await serve(await shop(), CacheBackend("other"))
    await tab.open(served.url)
    await tab.until("document.querySelectorAll('#largest button').length === 2")
    order: list[str] = []
    for _ in range(14):
        await tab.press("Tab")
        order.append(await active(tab))
    assert order[:6] == ["skip", "cache", "to-overview", "to-entries", "to-explain", "pause"]
    assert order[6:9] == ["a.test", "b.test", "check"]
    assert "skip" in order[9:]  # round again
    await tab.press("Tab", shift=True)
    assert await active(tab) != order[-1]


async def test_the_table_is_worked_by_keyboard(tab: Tab, serve: Any) -> None:
    served = await serve(await shop())
    await open_entries(tab, served.url)
    await tab.click("[role=columnheader].c-url button")
    await tab.until("document.querySelector('.rows .row .url').textContent === 'https://a.test/items/1'")
    for _ in range(7):  # the other headers, and round to the table
        await tab.press("Tab")
    await tab.js("grid.focus()")
    await tab.press("ArrowDown", 3)
    assert (
        await tab.js(
            "document.getElementById(grid.getAttribute('aria-activedescendant')).getAttribute('aria-selected')"
        )
        == "true"
    )
    first = await tab.js("grid.getAttribute('aria-activedescendant')")
    await tab.press("End")
    assert await tab.js("grid.getAttribute('aria-activedescendant')") == "row-29"
    await tab.until(
        "grid.scrollTop + grid.clientHeight >= grid.scrollHeight - 2 || grid.scrollHeight <= grid.clientHeight"
    )
    await tab.press("Home")
    assert await tab.js("grid.getAttribute('aria-activedescendant')") == "row-0"
    assert first != "row-0"
    await tab.press("Enter")
    await tab.until("document.querySelector('#detail pre')")
    assert await active(tab) == "https://a.test/items/1"
    await tab.press("Tab")
    assert await active(tab) == "Close"
    await tab.press("Escape")
    assert await tab.js("document.getElementById('detail').hidden")
    assert await active(tab) == "grid"
    await tab.press("Tab")
    assert await active(tab) != "grid"
    await tab.js("document.getElementById('open-purge').focus()")
    await tab.press("Enter")
    await tab.until("document.getElementById('purge').open")
    assert await active(tab) == "p-url"
    await tab.press("Escape")
    assert await active(tab) == "open-purge"
    assert tab.complaints == []


async def test_all_that_can_be_used_has_a_name(tab: Tab, serve: Any) -> None:
    served = await serve(await shop())
    await tab.send("Accessibility.enable")
    used = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "grid", "dialog"}
    for view in ("overview", "entries", "explain"):
        await tab.open(f"{served.url}#{view}")
        await tab.until(f"document.getElementById('cache').options.length && !document.getElementById('{view}').hidden")
        if view == "entries":
            await tab.until("document.querySelector('.rows .row .url')")
            await tab.js("document.getElementById('more').open = true")
            await tab.click(".rows .row")
            await tab.until("document.querySelector('#detail pre')")
            await tab.click("#open-purge")
        nodes = (await tab.send("Accessibility.getFullAXTree"))["nodes"]
        named = [
            (node["role"]["value"], node.get("name", {}).get("value"))
            for node in nodes
            if not node.get("ignored") and node.get("role", {}).get("value") in used
        ]
        assert len(named) > 5
        assert [one for one in named if not one[1]] == []


# ---- many


class ManyEntries(CacheBackend):
    """A cache that says that it has very many entries."""

    async def entries(self, **selectors: Unpack[Selectors]) -> AsyncGenerator[EntryInfo]:
        now = time.time()
        for number in range(MANY):
            yield EntryInfo(
                key=f"{number:040x}",
                method="GET",
                url=f"https://h{number % 10}.test/items/{number:06}",
                status=200,
                body_bytes=number,
                stored_at=now - number,
                validated_at=now - number,
                fresh_until=now + 60,
            )


async def test_a_hundred_thousand_entries_scroll_smoothly(tab: Tab, serve: Any) -> None:
    served = await serve(ManyEntries("many"))
    await open_entries(tab, served.url)
    assert f"{MANY:,} entries" in await tab.text("#count")
    frames = """new Promise((done) => {
        const gaps = []; let last = performance.now(), left = 60, most = 0;
        const next = (now) => {
          gaps.push(now - last); last = now; most = Math.max(most, document.querySelectorAll('.rows .row').length);
          if (STEP) grid.scrollTop += STEP;
          if (--left) requestAnimationFrame(next); else done({gaps: gaps.sort((a, b) => a - b), most});
        };
        requestAnimationFrame(next);
    })"""
    still = await tab.js(frames.replace("STEP", "0"))
    moving = await tab.js(frames.replace("STEP", "700"))
    # A frame that scrolls through a screenful takes about as long as one that does nothing, and few rows are there.
    assert moving["gaps"][30] < max(6 * still["gaps"][30], 200)
    assert moving["most"] < 120
    for share, index in ((0.5, MANY // 2), (1, MANY - 1)):
        await tab.js(f"grid.scrollTop = {share} * (grid.scrollHeight - grid.clientHeight)")
        await tab.until(
            f"[...document.querySelectorAll('.rows .url')].some((at) => at.textContent.endsWith('{index:06}'))"
        )
        await tab.until("!document.querySelector('.rows .empty')")
    await tab.js("grid.focus()")
    await tab.press("Home")
    await tab.until("[...document.querySelectorAll('.rows .url')].some((at) => at.textContent.endsWith('/000000'))")
    asked = "performance.getEntriesByType('resource').map((one) => new URL(one.name).searchParams.get('listing'))"
    assert len({one for one in await tab.js(asked) if one}) == 1  # all pages are of one walk
    assert await tab.js("grid.getAttribute('aria-rowcount')") == str(MANY + 1)
    assert await tab.js("performance.getEntriesByType('resource').every((one) => one.decodedBodySize < 100000)")
    assert tab.complaints == []


# ---- what goes wrong


async def test_a_store_that_is_down_is_shown_and_nothing_breaks(tab: Tab, serve: Any) -> None:
    served = await serve(RedisBackend("down", address="redis://127.0.0.1:1/0"))
    await tab.open(served.url)
    await tab.until("document.getElementById('banner').textContent.includes('127.0.0.1:1')")
    assert await tab.text("#t-stored-sub") == "the store does not answer"
    assert await tab.text("#health-text") == "store down"
    await tab.click("#to-entries")
    await tab.until("!document.getElementById('nothing').hidden")
    assert "127.0.0.1:1" in await tab.text("#nothing")
    await tab.click("#open-purge")
    await tab.click("#p-expired")
    await tab.until("document.getElementById('p-said').textContent.includes('127.0.0.1:1')")
    assert await tab.js("document.getElementById('p-go').disabled")
    assert [one for one in tab.complaints if "status of 503" not in one] == []


async def test_workers_are_told_apart_and_added_up(
    tab: Tab, serve: Any, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve(await shop())
    pid = 4711
    monkeypatch.setattr(api_module, "os", SimpleNamespace(getpid=lambda: pid))
    await tab.open(served.url)
    await tab.until("document.getElementById('counters-note').textContent.includes('worker 4711')")
    assert await tab.js("document.getElementById('worker-pick').hidden")
    pid = 4712
    async with served.sessions[0].get(f"{origin.url}/a") as response:
        await response.read()
    await tab.js(TICK)
    await tab.until("!document.getElementById('worker-pick').hidden")
    assert "of 2 workers" in await tab.text("#counters-note")
    assert tab.complaints == []


async def test_each_cache_of_an_app_is_shown(tab: Tab, serve: Any) -> None:
    small = CacheBackend("small")
    await fill(small, 2)
    served = await serve(await shop(), small)
    await open_entries(tab, served.url)
    await tab.js("cache.value = '1'; cache.dispatchEvent(new Event('change'))")
    await tab.until("document.getElementById('count').textContent.startsWith('2 entries')")
    await tab.until("document.title.startsWith('small')")
    assert tab.complaints == []


# ---- what others may not

EVIL = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"


async def test_what_is_stored_is_shown_as_text_and_runs_nowhere(tab: Tab, serve: Any) -> None:
    backend = CacheBackend("evil <b>", cache_control=True)
    entry = replace(
        make_entry("e" * 40, EVIL.encode()),
        url=f"https://a.test/{EVIL}",
        method="GET",
        reason=EVIL.encode(),
        raw_headers=(
            (b"Content-Type", f"text/html{EVIL}".encode()),
            (b"X-Evil", EVIL.encode()),
            (b"Cache-Tag", EVIL.encode()),
            (b"Cache-Groups", f'"{EVIL}"'.encode()),
        ),
        vary_fields=(EVIL,),
        vary_digest=b"x" * 8,
    )
    await backend.write(entry)
    served = await serve(backend)
    await open_entries(tab, served.url)
    assert EVIL in await tab.text(".rows .row")
    await tab.click(".rows .row")
    await tab.until("document.querySelector('#detail pre')")
    assert await tab.text("#detail pre") == EVIL
    assert (await tab.text("#detail")).count(EVIL) >= 4
    await tab.click("#detail .actions button:last-child")
    await tab.click("#explain-form .primary")
    await tab.until("document.querySelector('#answer h2, #answer .bad')")
    assert await tab.js("document.querySelectorAll('img, iframe, object, embed, script').length") == 1  # the page's own
    assert await tab.js("window.pwned === undefined")
    assert [one for one in tab.complaints if "status of 400" not in one] == []


async def test_the_browser_refuses_markup_and_scripts_that_are_not_the_pages(tab: Tab, serve: Any) -> None:
    served = await serve(await shop())
    await tab.open(served.url)
    await tab.until("document.getElementById('cache').options.length")
    for sink in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.write('<b>x</b>')",
        "document.createElement('script').text = 'x'",
    ):
        told = await tab.js(f"(() => {{ try {{ {sink}; return 'done'; }} catch (error) {{ return error.name; }} }})()")
        assert told == "TypeError", sink
    await tab.js(
        "(() => { const at = document.createElement('img'); at.src = 'https://attacker.test/x';"
        " document.body.append(at); })()"
    )
    deadline = time.monotonic() + 20
    while not any("attacker.test" in one for one in tab.complaints):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.fixture
async def attacker() -> AsyncIterator[str]:
    """A site of another's, on this machine."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>free kittens</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    async with TestServer(app) as server:
        yield str(server.make_url("/").with_host("localhost"))


async def test_another_site_can_neither_purge_nor_read_nor_frame(tab: Tab, serve: Any, attacker: str) -> None:
    backend = await shop()
    served = await serve(backend)
    await tab.open(served.url)  # so that the cookie is there
    await tab.until("document.getElementById('cache').options.length")
    await tab.open(attacker)
    await tab.until("document.title === 'free kittens'")
    target = f"{served.url}api/caches/0/purge"
    body = json.dumps({"all": True})
    for kind in ("text/plain", "application/json"):
        await tab.js(
            f"fetch({target!r}, {{method: 'POST', mode: 'no-cors', credentials: 'include', body: {body!r},"
            f" headers: {{'Content-Type': '{kind}'}}}}).then(() => 'sent', () => 'refused')"
        )
    read = await tab.js(
        f"fetch({served.url + 'api/caches'!r}, {{credentials: 'include'}}).then(() => 'read', () => 'refused')"
    )
    assert read == "refused"
    assert (await backend.usage()).entries == 30
    await tab.js(
        f"(() => {{ const at = document.createElement('iframe'); at.src = {served.url!r};"
        " document.body.append(at); })()"
    )
    deadline = time.monotonic() + 20
    while not any("frame" in one.lower() for one in tab.complaints):
        assert time.monotonic() < deadline, tab.complaints
        await asyncio.sleep(0.05)


# ---- how it looks


async def test_it_is_light_or_dark_as_the_user_prefers_and_fits_a_narrow_window(tab: Tab, serve: Any) -> None:
    served = await serve(await shop())
    grounds: set[str] = set()
    for scheme in ("light", "dark"):
        await tab.look(scheme=scheme)
        await open_entries(tab, served.url)
        grounds.add(await tab.js("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    await tab.look(width=380, height=700)
    for view in ("overview", "entries", "explain"):
        await tab.open(f"{served.url}#{view}")
        await tab.until(f"!document.getElementById('{view}').hidden")
        assert await tab.js("document.documentElement.scrollWidth <= innerWidth"), view
