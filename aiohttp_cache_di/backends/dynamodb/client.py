"""The driver's clients for DynamoDB, one for each event loop, and the creation of the table."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import weakref
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final, TypeAlias

from aiohttp_cache_di.addresses import refuse_odd_endpoint
from aiohttp_cache_di.backends.dynamodb.items import Layout
from aiohttp_cache_di.backends.operating.terms import quoted
from aiohttp_cache_di.backends.rows import OfLoop
from aiohttp_cache_di.entries.tags import as_shown
from aiohttp_cache_di.errors import ConfigurationError, MissingDependencyError, StorageError

__all__ = [
    "CONDITION_FAILED",
    "NOT_THERE",
    "Client",
    "Connection",
    "Service",
    "driver_options",
    "error_code",
    "missing",
    "part_of",
]

logger: logging.Logger = logging.getLogger(__name__)

CONDITION_FAILED: Final = "ConditionalCheckFailedException"
NOT_THERE: Final = "ResourceNotFoundException"
NOT_ALLOWED: Final = "AccessDeniedException"
IN_USE: Final = "ResourceInUseException"

TABLE: Final = "table"
SHOWN_CHARS: Final = 60  # of a header field of a server that is not DynamoDB
POLL_S: Final = 0.02  # between checks whether a new table is ready, which takes AWS some seconds; doubles
POLL_MAX_S: Final = 0.5
READY_WITHIN_S: Final = 60.0

_MISSING: Final[dict[str, str]] = {
    "NoRegionError": "no region; set region_name (DYNAMODB__REGION), AWS_DEFAULT_REGION or a profile",
    "InvalidRegionError": "{region_name!r} is not the name of a region",
    "NoCredentialsError": "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
    "PartialCredentialsError": "a part of the credentials is set, {cred_var} is not",
    "ProfileNotFound": "no profile {profile!r} in the files of AWS; see AWS_PROFILE",
    "CredentialRetrievalError": "the credentials could not be had from {provider}",
}
"""What is missing, by the names of the driver's errors; the values come from the errors, and none of them is secret."""

Client: TypeAlias = Any
"""The driver's client, which has no types."""


def error_code(exc: BaseException) -> str:
    """DynamoDB's code for the error *exc*; "" for other errors."""
    response: Any = getattr(exc, "response", None) or {}  # None if there was no answer
    return str(response["Error"].get("Code", "")) if "Error" in response else ""


def missing(exc: BaseException) -> str:
    """What the driver lacks to call the server, if *exc* says that; "" for other errors."""
    told = _MISSING.get(type(exc).__name__, "")
    with suppress(LookupError):  # other releases of the driver may name the values differently
        return told.format_map(getattr(exc, "kwargs", {}))
    return ""


def driver_options() -> frozenset[str]:
    """The names of the arguments of ``create_client``.

    Raises:
        MissingDependencyError: aiobotocore is not installed.
    """
    _driver("session")
    create: Any = importlib.import_module("botocore.session").Session.create_client
    return frozenset(inspect.signature(create).parameters) - {"self", "service_name"}


class Connection(OfLoop):
    """One event loop's client.

    Args:
        client: the client.
        context: its context manager, which is exited on closing; None for a client that its user closes.
    """

    def __init__(self, client: Client, context: Any) -> None:
        super().__init__(None if context is None else partial(context.__aexit__, None, None, None))
        self.client = client


class Service:
    """DynamoDB in a region, and the table in it.

    Args:
        layout: the name of the table and of its key.
        context: an asynchronous context manager that returns a client (``session.create_client("dynamodb")``) or a
            resource (aioboto3's); or a client, which stays open. It serves the loop that first uses it.
        create: make the table if it does not exist, with expiry switched on.
        options: arguments of ``create_client``.

    Raises:
        ConfigurationError: *context* is something else, or the endpoint in *options* no URL.
    """

    def __init__(self, layout: Layout, context: Any, options: Mapping[str, Any], *, create: bool) -> None:
        if context is not None and not (hasattr(context, "__aenter__") or hasattr(context, "batch_get_item")):
            kind = f"{type(context).__module__}.{type(context).__qualname__}"
            raise ConfigurationError(f"context has to give a client of DynamoDB in `async with`, and a {kind} does not")
        _expect_endpoint(options.get("endpoint_url"))
        self.where: str = str(
            options.get("endpoint_url") or options.get("region_name") or "dynamodb in the region of the environment"
        )
        self._layout = layout
        self._context = context
        self._options = dict(options)
        self._creates = self._is_to_create = create
        self._lacks_expiry = False  # the table was made here, and its expiry has not been switched on yet
        self._served: weakref.ref[asyncio.AbstractEventLoop] | None = None

    async def connect(self) -> Connection:
        """Make the client of the running loop, and the table if necessary."""
        connection = await (self._own() if self._context is None else self._lent(self._context))
        if self._is_to_create:
            try:
                await self._ensure_table(connection.client)
            except BaseException as exc:
                if error_code(exc) != NOT_ALLOWED:
                    await connection.close()
                    raise
                self._creates = False
                logger.warning("the table %s is used as it is: describing or creating it is denied", self._layout.table)
            self._is_to_create = False
        return connection

    @property
    def creates(self) -> bool:
        """Whether the table is made if it does not exist."""
        return self._creates

    async def make_again(self, connection: Connection) -> None:
        """Make the table again after it was deleted; a caller that is cancelled does not stop that."""
        await connection.tasks.run(partial(self._ensure_table, connection.client), TABLE)

    async def _ensure_table(self, client: Client) -> None:
        """Wait until the table is ready, after making it if it does not exist; switch expiry on in a new table."""
        loop, layout = asyncio.get_running_loop(), self._layout
        until, pause_s = loop.time() + READY_WITHIN_S, POLL_S
        while True:
            try:
                table = part_of(await client.describe_table(TableName=layout.table), "Table")
            except Exception as exc:
                if error_code(exc) != NOT_THERE:
                    raise
                self._lacks_expiry = await _create(client, layout) or self._lacks_expiry
            else:
                keys = {part["AttributeName"]: part["KeyType"] for part in table["KeySchema"]}
                if keys != {layout.key_attr: "HASH"}:
                    raise StorageError(
                        f"the table {layout.table} has the key {keys}: it has to be {layout.key_attr!r} alone"
                    )
                if table["TableStatus"] in ("ACTIVE", "UPDATING"):
                    break
            if loop.time() >= until:
                raise StorageError(f"the table {layout.table} is not ready after {READY_WITHIN_S:g} s")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MAX_S)
        if self._lacks_expiry:
            await _switch_expiry_on(client, layout)
            self._lacks_expiry = False

    async def _own(self) -> Connection:
        session = await asyncio.to_thread(_prepared_session, self._options)
        options = {"config": _driver("config").AioConfig(**CLIENT_OPTIONS), **self._options}
        context = session.create_client("dynamodb", **options)
        try:
            client = await context.__aenter__()
        except ValueError as exc:
            if not str(exc).startswith("Invalid endpoint"):
                raise
            raise StorageError(
                "AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL or the profile has an endpoint that is no URL; use one "
                "such as http://host:8000"
            ) from None
        return Connection(client, context)

    async def _lent(self, context: Any) -> Connection:
        loop = asyncio.get_running_loop()
        is_client = hasattr(context, "batch_get_item")
        if self._served is not None and (not is_client or self._served() is not loop):
            raise StorageError(
                "context= serves one event loop, and once; leave it out, and each event loop has a client of its own"
            )
        self._served = weakref.ref(loop)
        if is_client:
            return Connection(context, None)
        entered = await context.__aenter__()
        return Connection(entered if hasattr(entered, "batch_get_item") else entered.meta.client, context)


def _expect_endpoint(endpoint: object) -> None:
    """Raise ConfigurationError unless *endpoint* can be used, or is None; boto would raise at the first call."""
    if endpoint is None:
        return
    try:
        refuse_odd_endpoint(endpoint if isinstance(endpoint, str) else "")
    except ValueError as exc:
        raise ConfigurationError(f"endpoint_url={quoted(endpoint)}: {exc}") from None


def part_of(answer: Any, name: str, *, may_lack: bool = False) -> Any:
    """What the server's *answer* has under *name*, which each answer of DynamoDB to that call has.

    Args:
        may_lack: another make of server may leave it out if it is empty; the result is None if its answer is JSON.

    Raises:
        StorageError: it has not; the message tells what has answered.
    """
    if name in answer:
        return answer[name]
    told = answer.get("ResponseMetadata", {})
    fields = told.get("HTTPHeaders", {})
    kind, server = (as_shown(str(fields.get(field, "")))[:SHOWN_CHARS] for field in ("content-type", "server"))
    if may_lack and "json" in kind:
        return None
    came = f"{told.get('HTTPStatusCode', '')} {kind}{server and f' from {server}'}".strip()
    raise StorageError(f"what answers is not DynamoDB: its answer ({came}) has no {name}")


CLIENT_OPTIONS: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "read_timeout": 10,
    "retries": {"mode": "standard", "total_max_attempts": 2},  # more would take longer than callers wait
    "max_pool_connections": 32,
}


def _driver(module: str) -> Any:
    try:
        return importlib.import_module(f"aiobotocore.{module}")
    except ImportError as exc:
        raise MissingDependencyError(
            "DynamoDBBackend needs aiobotocore: pip install 'aiohttp-cache-di[dynamodb]'"
        ) from exc


@cache
def _loader(api_version: str | None) -> Any:
    """The driver's loader of service descriptions, after reading those that a client needs, which takes 60 ms.

    The driver's own ``warm_up_loader_caches`` takes twice as long: it searches 400 directories and reads others, too.
    """
    loader = _driver("session").get_session().get_component("data_loader")
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data_with_path(name)
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("dynamodb", kind, api_version=api_version)
    return loader


def _prepared_session(options: Mapping[str, Any]) -> Any:
    """A session that has read all its files; call it in a thread."""
    session = _driver("session").get_session()
    session.register_component("data_loader", _loader(options.get("api_version")))
    _ = session.full_config
    if options.get("aws_access_key_id") is None and _found_credentials(session) is None and "config" not in options:
        # The driver would search the files once more, in the event loop. Only a config can say that nothing is signed.
        raise importlib.import_module("botocore.exceptions").NoCredentialsError
    return session


def _found_credentials(session: Any) -> Any:
    """The credentials that *session* finds in variables, files or the services of the machine; None if there are none.

    Files are read without an event loop, as tools that refuse blocking calls look for one in each thread. Only what
    takes a network or a process needs a loop.
    """
    search = session.get_credentials()
    try:
        with suppress(RuntimeError):  # there is no running event loop
            search.send(None)
    except StopIteration as found:
        return found.value
    finally:
        search.close()
    return asyncio.run(session.get_credentials())


async def _switch_expiry_on(client: Client, layout: Layout) -> None:
    """Switch the table's expiry on; only log if the server does not support that, or does not permit it."""
    spec = {"Enabled": True, "AttributeName": "ttl"}
    try:
        await client.update_time_to_live(TableName=layout.table, TimeToLiveSpecification=spec)
    except Exception as exc:
        what = error_code(exc) or type(exc).__name__
        logger.warning("the table %s: no expiry could be switched on (%s): expired items stay", layout.table, what)


async def _create(client: Client, layout: Layout) -> bool:
    """Create the table; False if another process is doing that."""
    try:
        await client.create_table(
            TableName=layout.table,
            KeySchema=[{"AttributeName": layout.key_attr, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": layout.key_attr, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    except Exception as exc:
        if error_code(exc) != IN_USE:
            raise
        return False
    return True


with suppress(MissingDependencyError):
    # Now, rather than while a first request waits: importing and loading descriptions read files.
    driver_options()
    _driver("config")
    _loader(None)
