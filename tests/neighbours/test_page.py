"""The page about other libraries: each recipe works, with the library that it is about.

`make neighbours` installs them; elsewhere a test is skipped that has not got its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aiohttp_cache_di import CacheBackend, CachedSession
from tests.pages import as_module, block_with, blocks
from tests.valkey import ValkeyServer


def recipe(part: str, name: str) -> Any:
    """The module that the recipe of *name* is; skips where *part*, a library, is not installed."""
    pytest.importorskip(part, reason=f"needs {part}: make neighbours")
    return as_module(block_with("neighbours", name), name)


class Upstream:
    """Answers everything, for a minute, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        body = {"ok": True, "id": "m", "data": {"number": len(self.asked)}}
        return web.json_response(body, headers={"Cache-Control": "max-age=60"})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made, app = Upstream(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    async with TestServer(app) as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


@pytest.fixture
async def session() -> AsyncIterator[CachedSession]:
    async with CachedSession(cache=CacheBackend(cache_control=True)) as made:
        yield made


@pytest.fixture(autouse=True)
def _in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")


async def test_httpx_is_answered_from_the_cache(upstream: Upstream, session: CachedSession) -> None:
    async with recipe("httpx_aiohttp", "make_httpx_client").make_httpx_client(session) as client:
        answers = [await client.get(f"{upstream.url}/page") for _ in range(2)]
    assert [answer.json()["data"]["number"] for answer in answers] == [1, 1]
    assert "hit" in answers[1].headers["Cache-Status"]
    assert not session.closed


async def test_an_sdk_on_httpx_is_answered_from_the_cache(upstream: Upstream, session: CachedSession) -> None:
    made = recipe("openai", "make_openai_client").make_openai_client
    async with made(session, f"{upstream.url}/v1", "key") as client:
        for _ in range(2):
            assert (await client.models.retrieve("m")).id == "m"
    assert upstream.asked == ["GET /v1/models/m"]


async def test_a_pipeline_of_azure_is_answered_from_the_cache(upstream: Upstream, session: CachedSession) -> None:
    transport = recipe("azure.core", "make_azure_transport").make_azure_transport(session)
    pipelines, rest = pytest.importorskip("azure.core.pipeline"), pytest.importorskip("azure.core.rest")

    async with pipelines.AsyncPipeline(transport) as pipeline:
        for _ in range(2):
            response = (await pipeline.run(rest.HttpRequest("GET", f"{upstream.url}/page"))).http_response
            await response.load_body()
            assert json.loads(response.body())["ok"]
    assert upstream.asked == ["GET /page"]
    assert not session.closed


async def test_of_slack_what_is_read_is_cached_and_what_is_written_is_not(upstream: Upstream) -> None:
    made = recipe("slack_sdk", "make_slack_client")
    async with made.make_slack_session() as session:
        client = made.make_slack_client(session, "xoxb-1", f"{upstream.url}/api/")
        for _ in range(2):
            assert (await client.conversations_list())["ok"]
            assert (await client.chat_postMessage(channel="c", text="t"))["ok"]
    assert sorted(upstream.asked) == ["GET /api/conversations.list", *["POST /api/chat.postMessage"] * 2]


async def test_queries_of_gql_are_cached(upstream: Upstream) -> None:
    made = recipe("gql", "make_gql_transport")
    gql = pytest.importorskip("gql")

    url = f"{upstream.url}/graphql"
    cache = CacheBackend(cache_control=True, expire_after="5m", post_as_query=[url])
    async with gql.Client(transport=made.make_gql_transport(url, cache)) as client:
        assert [await client.execute(gql.gql("{ number }")) for _ in range(2)] == [{"number": 1}] * 2
    await cache.close()
    assert made.make_graphql_cache(url).name == "graphql"


async def test_a_retrying_client_is_answered_from_the_cache(upstream: Upstream, session: CachedSession) -> None:
    client = recipe("aiohttp_retry", "make_retry_client").make_retry_client(session)
    for _ in range(2):
        async with client.get(f"{upstream.url}/page") as response:
            assert (await response.json())["data"] == {"number": 1}
    assert upstream.asked == ["GET /page"]


async def test_sentry_watches_and_nothing_changes(upstream: Upstream) -> None:
    sentry = pytest.importorskip("sentry_sdk", reason="needs sentry_sdk: make neighbours")
    integration = pytest.importorskip("sentry_sdk.integrations.aiohttp")

    spans: list[str] = []

    def keep(event: dict[str, Any], _hint: Any) -> None:
        spans.extend(span["description"] for span in event.get("spans", []))

    sentry.init(
        dsn="http://key@127.0.0.1:1/1",
        integrations=[integration.AioHttpIntegration()],
        default_integrations=False,
        traces_sample_rate=1.0,
        before_send_transaction=keep,
    )
    try:
        async with CachedSession(cache=CacheBackend(cache_control=True), headers={"User-Agent": "a"}) as session:
            with sentry.start_transaction(name="job"):
                for _ in range(2):
                    async with session.get(f"{upstream.url}/page") as response:
                        assert (await response.json())["data"] == {"number": 1}
    finally:
        sentry.init()
    assert spans == [f"GET {upstream.url}/page"] * 2
    assert upstream.asked == ["GET /page"]


def _run_in_a_loop_of_its_own(run: Any) -> Any:
    return asyncio.to_thread(run)


async def test_files_of_fsspec_are_cached(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = recipe("fsspec", "fsspec")

    def read_twice() -> list[bytes]:
        system = made.make_file_system()
        return [system.cat(f"{upstream.url}/file") for _ in range(2)]

    first, second = await asyncio.to_thread(read_twice)
    assert first == second
    assert upstream.asked == ["GET /file"]


async def test_uvloop_runs_it(upstream: Upstream) -> None:
    made = recipe("uvloop", "uvloop")
    assert json.loads(await _run_in_a_loop_of_its_own(lambda: made.run(f"{upstream.url}/page")))["ok"]


async def test_starlette_has_a_session(upstream: Upstream) -> None:
    app = recipe("starlette", "Starlette").app
    app.state.upstream = f"{upstream.url}/page"
    await _asked_twice(app)
    assert len(upstream.asked) == 1


async def test_litestar_has_a_session(upstream: Upstream) -> None:
    app = recipe("litestar", "Litestar").app
    app.state.upstream = f"{upstream.url}/page"
    await _asked_twice(app)
    assert len(upstream.asked) == 1


async def _asked_twice(app: Any) -> None:
    """Ask the app's route twice, within one lifespan, as a server does."""
    httpx = pytest.importorskip("httpx")
    async with Lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        caches = [(await client.get("/weather")).json()["cache"] for _ in range(2)]
    assert "miss" in caches[0]
    assert "hit" in caches[1]


class Lifespan:
    """The lifespan of an ASGI app, as a context."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._running = asyncio.create_task(self._app(scope, self._received.get, self._sent.put))
        await self._said("startup")

    async def __aexit__(self, *_error: object) -> None:
        await self._said("shutdown")
        await self._running

    async def _said(self, what: str) -> None:
        await self._received.put({"type": f"lifespan.{what}"})
        answer = await asyncio.wait_for(self._sent.get(), 10)
        assert answer["type"] == f"lifespan.{what}.complete", answer


async def test_quart_has_a_session(upstream: Upstream) -> None:
    app = recipe("quart", "Quart").app
    app.config["UPSTREAM"] = f"{upstream.url}/page"
    async with app.test_app():
        client = app.test_client()
        caches = [(await (await client.get("/weather")).get_json())["cache"] for _ in range(2)]
    assert "hit" in caches[1]
    assert len(upstream.asked) == 1


@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")  # arq's, of its own driver
async def test_jobs_of_an_arq_worker_share_a_session(upstream: Upstream, valkey: ValkeyServer) -> None:
    made = recipe("arq", "WorkerSettings")
    arq, workers = pytest.importorskip("arq"), pytest.importorskip("arq.worker")

    settings = arq.connections.RedisSettings.from_dsn(valkey.url)
    pool = await arq.create_pool(settings)
    jobs = [await pool.enqueue_job("fetch", f"{upstream.url}/page", _job_id=f"job-{number}") for number in range(2)]
    worker = workers.create_worker(
        made.WorkerSettings, redis_settings=settings, burst=True, max_jobs=1, handle_signals=False
    )
    await worker.async_run()
    results = [await job.result(timeout=10) for job in jobs]
    await worker.close()
    await pool.aclose()
    assert [result.rpartition(" ")[2] for result in results] == ["False", "True"]
    assert len(upstream.asked) == 1


async def test_tasks_of_celery_share_a_store(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(tmp_path / "tasks.sqlite"))
    made = recipe("celery", "Celery")
    results = [await _run_in_a_loop_of_its_own(lambda: made.fetch.apply((f"{upstream.url}/page",)).get()) for _ in "ab"]
    assert [result.rpartition(" ")[2] for result in results] == ["False", "True"]
    assert len(upstream.asked) == 1


async def test_a_notebook_awaits_in_its_cells(upstream: Upstream, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: make neighbours")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat: make neighbours")
    pytest.importorskip("ipykernel", reason="needs ipykernel: make neighbours")
    code = block_with("neighbours", "notebook")
    asking = f"for _ in range(2):\n    async with session.get('{upstream.url}/page') as r:\n        print(r.from_cache)"
    cells = [nbformat.v4.new_code_cell(text) for text in (code, asking, "await session.close()")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    await nbclient.NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).async_execute()
    assert notebook.cells[1].outputs[0].text == "False\nTrue\n"


async def test_dishka_provides_a_session(upstream: Upstream) -> None:
    made = recipe("dishka", "Provider")
    dishka = pytest.importorskip("dishka")

    container = dishka.make_async_container(made.Cache())
    session = await container.get(CachedSession)
    assert await container.get(CachedSession) is session
    async with session.get(f"{upstream.url}/page") as response:
        assert response.status == 200
    await container.close()
    assert session.closed


async def test_svcs_provides_a_session() -> None:
    made = recipe("svcs", "Registry")
    svcs = pytest.importorskip("svcs")

    async with made.services() as registry, svcs.Container(registry) as container:
        session = await container.aget(CachedSession)
        (ping,) = container.get_pings()
        await ping.aping()
        assert not session.closed
    assert session.closed


UNUSED = (  # what is installed here and the program does not need, so that it is made within the minute
    *("aiobotocore", "botocore", "celery", "fastapi", "hypothesis", "IPython", "numpy", "opentelemetry"),
    *("prometheus_client", "pymongo", "pytest", "redis", "rich", "starlette", "yaml"),
)
PROGRAM = """
import asyncio
import sys

from aiohttp import ClientSession, web

from aiohttp_cache_di import open_container
from aiohttp_cache_di_web.admin import add_admin


async def main(url):
    async with open_container() as session:
        for _ in range(2):
            async with session.get(url) as response:
                print(await response.text(), response.from_cache)
    app = web.Application()
    add_admin(app, authorize=lambda request: True)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession() as client:
        async with client.get("http://127.0.0.1:%d/cache-admin/" % runner.addresses[0][1]) as page:
            print(page.status)
    await runner.cleanup()


asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.timeout(280)  # PyInstaller analyses every module that the app may import
async def test_an_executable_has_all_that_it_needs(upstream: Upstream, tmp_path: Path) -> None:
    pytest.importorskip("PyInstaller", reason="needs PyInstaller: make neighbours")
    (tmp_path / "app.py").write_text(PROGRAM, encoding="utf-8")

    async def run(*command: str) -> str:
        ran = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await ran.communicate()
        assert ran.returncode == 0, said.decode()
        return said.decode()

    left_out = (option for module in UNUSED for option in ("--exclude-module", module))
    await run(sys.executable, "-m", "PyInstaller", "--onedir", *left_out, "app.py")
    said = await run(str(tmp_path / "dist" / "app" / "app"), f"{upstream.url}/page")
    assert [line.split()[-1] for line in said.splitlines()] == ["False", "True", "200"]


def test_the_page_has_a_test_for_each_recipe() -> None:
    assert len(blocks("neighbours")) == 16
