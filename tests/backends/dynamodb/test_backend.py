"""The public behaviour of DynamoDBBackend and DynamoDbCache, on a real server."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from aiohttp_cache_di import ConfigurationError, DynamoDBBackend, DynamoDbCache
from aiohttp_cache_di.backends.dynamodb import client
from aiohttp_cache_di.backends.wrap.guarding.outages import cause_of, kind_of
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.response import CachedResponse
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.dynamodb.relay import Relay
from tests.backends.entries import make_entry
from tests.blocking import allowed_to_block
from tests.ministack import CREDENTIALS, MinistackServer, create_client
from tests.times import in_time

MakeBackend = Callable[..., DynamoDBBackend]


class TestContract(StorageContract):
    """The contract of every storage."""

    @pytest.fixture
    def make(self, ministack: MinistackServer) -> MakeStorage:
        name = uuid.uuid4().hex
        return partial(
            DynamoDbCache, name, "responses", create_if_not_exists=True, endpoint_url=ministack.url, **CREDENTIALS
        )


@pytest.fixture
def make_backend(ministack: MinistackServer) -> MakeBackend:
    """Make backends on one table."""
    name = uuid.uuid4().hex
    return partial(
        DynamoDBBackend,
        name,
        create_if_not_exists=True,
        endpoint_url=ministack.url,
        autoclose=True,
        storage_deadline=5.0,
        **CREDENTIALS,
    )


async def test_what_is_wrong_with_a_table_is_told_by_the_servers_name_for_it_or_in_words_of_ours(
    make_backend: MakeBackend,
) -> None:
    backend = make_backend()
    await backend.responses.write("k", CachedResponse.from_stored(make_entry("k")))
    causes: list[str] = []
    for create in (False, True):
        other = make_backend(key_attr_name="other", create_if_not_exists=create)
        with pytest.raises(Exception) as failure:  # noqa: PT011  # an error of the driver or of the package
            await other.responses.read("k")
        causes.append(cause_of(kind_of(failure.value), failure.value, other.stack.store))
        await other.close()
    assert causes[0] == "ClientError: ValidationException"
    assert "has to be 'other' alone" in causes[1]
    await backend.close()


NO_CREDENTIALS = {"AWS_EC2_METADATA_DISABLED": "true"}
KEYS = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "s3cret"}


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave nothing by which the driver finds a region or credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("environment", "options", "told"),
    [
        ({}, {"region_name": None, **KEYS}, "NoRegionError: no region; set region_name (DYNAMODB__REGION)"),
        ({}, {"region_name": "West Europe", **KEYS}, "InvalidRegionError: 'West Europe' is not the name of a region"),
        (NO_CREDENTIALS, {}, "NoCredentialsError: no credentials; set AWS_ACCESS_KEY_ID"),
        (NO_CREDENTIALS, {"aws_access_key_id": "AKIA"}, "credentials is set, aws_secret_access_key is not"),
        ({"AWS_PROFILE": "orders"}, {}, "ProfileNotFound: no profile 'orders'"),
        (
            {"AWS_CONFIG_FILE": "{config}"},
            {},
            "CredentialRetrievalError: the credentials could not be had from custom-process",
        ),
    ],
)
@pytest.mark.usefixtures("no_aws")
async def test_what_the_driver_lacks_is_told_with_the_way_out(
    environment: dict[str, str], options: Any, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\ncredential_process = sh -c 'echo s3cret >&2; exit 1'\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(config=config))
    given: dict[str, Any] = {"region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:1", **options}
    backend = DynamoDBBackend("table", storage_deadline=10, **given)
    reason = (await backend.ping()).reason
    await backend.close()
    assert told in reason
    assert "s3cret" not in reason


@pytest.mark.parametrize(
    "endpoint",
    [
        "localhost:8000",
        "//localhost:8000",
        "ftp://localhost",
        "http://",
        "http://a b/",
        "http://h:99999",
        "http://h:x",
        "http://a_b",
        7,
    ],
)
def test_an_endpoint_that_is_no_url_is_refused_when_the_backend_is_made(endpoint: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"has to be a URL without a user: https://host") as caught:
        DynamoDBBackend("table", endpoint_url=endpoint, **CREDENTIALS)
    assert str(caught.value).startswith(f"endpoint_url={endpoint!r}: ")


def test_the_password_in_an_endpoint_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="endpoint_url=") as caught:
        DynamoDBBackend("table", endpoint_url="https://me:s3cret@host", **CREDENTIALS)
    assert "s3cret" not in str(caught.value)


@pytest.mark.usefixtures("no_aws")
async def test_an_endpoint_of_the_environment_that_is_no_url_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:8000")
    backend = DynamoDBBackend("table", storage_deadline=10, **CREDENTIALS)
    reason = (await backend.ping()).reason
    await backend.close()
    assert "AWS_ENDPOINT_URL or the profile has an endpoint that is no URL" in reason


@pytest.mark.parametrize("endpoint", ["http://[::1]:8000", "HTTPS://dynamo.example", "http://127.0.0.1:8000/path"])
def test_the_endpoints_that_boto_accepts_are_accepted(endpoint: str) -> None:
    assert DynamoDBBackend("table", endpoint_url=endpoint, **CREDENTIALS).stack.store.where == endpoint  # type: ignore[attr-defined]  # not of every store


async def test_a_server_may_leave_out_that_nothing_is_unprocessed() -> None:
    async def answering(request: web.BaseRequest) -> web.Response:
        return web.Response(text="{}", content_type="application/x-amz-json-1.0")

    runner = web.ServerRunner(web.Server(answering))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    backend = DynamoDBBackend("table", endpoint_url=f"http://{host}:{port}", storage_deadline=10, **CREDENTIALS)
    await backend.write(make_entry("a"))
    await backend.close()
    await runner.cleanup()


@pytest.mark.parametrize("answer", ["<html>", "{}"])
async def test_a_server_that_is_not_dynamodb_is_told_by_what_it_answers(answer: str) -> None:
    async def answering(request: web.BaseRequest) -> web.Response:
        return web.Response(text=answer, content_type="text/html", headers={"Server": "nginx/1.27"})

    runner = web.ServerRunner(web.Server(answering))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    backend = DynamoDBBackend("table", endpoint_url=f"http://{host}:{port}", storage_deadline=10, **CREDENTIALS)
    creating = DynamoDBBackend("table", create_if_not_exists=True, endpoint_url=f"http://{host}:{port}", **CREDENTIALS)
    told = r"not DynamoDB: its answer \(200 text/html; charset=utf-8 from nginx/1.27\) has no "
    for call, part in (
        (backend.write(make_entry("a")), "UnprocessedItems"),
        (backend.stack.store.get(["a", "b"]), "Responses"),
        (backend.responses.size(), "Items"),
        (creating.write(make_entry("a")), "Table"),
    ):
        with pytest.raises(StorageError, match=told + part):
            await call
    assert "not DynamoDB" in (await backend.ping()).reason
    await backend.close()
    await creating.close()
    await runner.cleanup()


@pytest.mark.usefixtures("no_aws")
async def test_credentials_in_a_file_are_found_without_reading_it_in_an_event_loop(
    ministack: MinistackServer, tmp_path: Path
) -> None:
    (tmp_path / ".aws").mkdir()
    keys = "".join(f"{name} = {value}\n" for name, value in CREDENTIALS.items() if name.startswith("aws_"))
    (tmp_path / ".aws" / "credentials").write_text(f"[default]\n{keys}")
    backend = DynamoDBBackend(
        uuid.uuid4().hex,
        create_if_not_exists=True,
        endpoint_url=ministack.url,
        region_name="eu-west-1",
        storage_deadline=10.0,
    )
    health = await backend.ping()
    await backend.close()
    assert health.is_ok, health.reason


async def test_a_ping_of_a_table_whose_replicas_lag_behind_finds_the_record_that_it_has_written(
    ministack: MinistackServer, make_backend: MakeBackend
) -> None:
    async with Relay(ministack.url) as relay:
        relay.lags = True
        backend = make_backend(endpoint_url=relay.url)
        health = await backend.ping()
        await backend.close()
    assert health.is_ok, health.reason


async def test_a_copy_in_memory_is_believed_for_its_lifetime(make_backend: MakeBackend) -> None:
    readers, two = list[DynamoDBBackend](), make_backend()

    async def look_after_its_deletion(lifetime_s: float) -> tuple[DynamoDBBackend, bool]:
        readers.append(one := make_backend(near_tier_s=lifetime_s))
        await two.responses.write("k", CachedResponse.from_stored(make_entry("k")))
        await one.stack.here().fetch("k")
        await two.delete("k")
        return one, one.responses.peek("k") is not None

    lifetime_s, (one, is_there) = await in_time(0.3, look_after_its_deletion)
    assert is_there
    await asyncio.sleep(lifetime_s + 0.01)
    assert one.responses.peek("k") is None
    assert await one.responses.read("k") is None
    for each in (*readers, two):
        await each.close()


@pytest.mark.parametrize("how", ["everywhere", "by host", "softly"])
async def test_no_copy_outlives_a_purge_that_comes_after_that_of_another_process(
    make_backend: MakeBackend, how: str
) -> None:
    one, other = make_backend(near_tier_s=600), make_backend()
    entry = make_entry("k")
    await other.responses.write("k", CachedResponse.from_stored(entry))
    await one.stack.here().fetch("k")
    await other.delete("k")
    assert one.responses.peek("k") is not None
    if how == "everywhere":
        await one.delete_url(entry.url, everywhere=True)
    else:
        await one.purge(host=URL(entry.url).host or "", soft=how == "softly")
    assert one.responses.peek("k") is None
    for each in (one, other):
        await each.close()


async def test_a_context_may_be_handed_in(ministack: MinistackServer) -> None:
    context = create_client(ministack.url)
    backend = DynamoDBBackend(uuid.uuid4().hex, create_if_not_exists=True, context=context)
    with allowed_to_block("the context is the user's, and reads its files when it is entered"):
        await backend.redirects.write("alias", "target")
    assert await backend.redirects.read("alias") == "target"
    await backend.close()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"region": "x"}, TypeError, "did you mean 'region_name'"),
        ({"context": object()}, ConfigurationError, "context"),
        ({"val_attr_name": "k"}, ConfigurationError, "val_attr_name"),
        ({"near_tier_s": 0}, ConfigurationError, "near_tier_s"),
        ({"near_tier_s": 1, "near_tier_bytes": 0}, ConfigurationError, "near_tier_bytes"),
        ({"secret_key": ""}, ConfigurationError, "secret_key"),
    ],
)
def test_an_option_that_cannot_be_used_is_an_error_at_once(options: Any, error: type[Exception], text: str) -> None:
    for make in (DynamoDBBackend, partial(DynamoDbCache, "table", "responses")):
        with pytest.raises(error, match=text):
            make(**options)


def test_a_backend_says_where_it_is() -> None:
    backend = DynamoDBBackend("table", region_name="eu-west-1")
    assert repr(backend).startswith("<DynamoDBBackend 'table' at eu-west-1:")
    assert repr(backend.responses) == "<DynamoDbCache table:responses at eu-west-1>"


async def test_opening_holds_the_loop_up_for_far_less_than_reading_the_drivers_descriptions_takes(
    make_backend: MakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> float:
        began_at = time.thread_time()
        client._loader.__wrapped__(None)  # the descriptions, which are read once, at import
        return time.thread_time() - began_at

    descriptions_s = await asyncio.to_thread(read)
    took_s: list[float] = []
    run = asyncio.Handle._run

    def timed(self: asyncio.Handle) -> None:
        before = time.thread_time()
        run(self)
        took_s.append(time.thread_time() - before)

    backend = make_backend()
    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    gc.disable()  # it would traverse the objects of all earlier tests
    try:
        assert (await backend.ping()).status == "ok"
    finally:
        gc.enable()
    monkeypatch.undo()
    await backend.close()
    assert max(took_s) < descriptions_s / 2
