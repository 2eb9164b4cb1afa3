"""The driver's clients for a MongoDB server: one for each event loop, made from one set of options."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, cast

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import AsyncMongoClient, common, uri_parser
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.client_options import ClientOptions
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import InvalidURI
from pymongo.monitoring import ServerListener, TopologyListener
from pymongo.write_concern import WriteConcern

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.mongodb.clock import ServerClock
from aiohttp_cache_di.backends.mongodb.documents import Document
from aiohttp_cache_di.backends.rows import OfLoop
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.lazy import compiled_later

__all__ = ["Client", "Connection", "Server"]

Client: TypeAlias = AsyncMongoClient[Document]

NAMED: Final = frozenset({"host", "port", "document_class", "tz_aware", "connect", "type_registry"})
DEFAULTS: Final[Mapping[str, int]] = {
    "socketTimeoutMS": 10_000,  # callers wait far shorter
    "serverSelectionTimeoutMS": 5_000,
    "retryWrites": False,  # the stack repeats failed writes; DocumentDB and Cosmos DB refuse retryable writes
}
_SYSTEM_ERROR: Final = compiled_later(r"\[Errno -?\d+\] [^(\n]+")  # in the driver's message, which has no cause
CLOSE_WITHIN_S: Final = 0.5  # for ending sessions on the server, which also expire by themselves
# Dates as numbers, even with a user's client: no year is out of range, and no datetime objects are made.
_CODEC: Final = CodecOptions[Document](datetime_conversion=DatetimeConversion.DATETIME_MS)


class Connection(OfLoop):
    """One event loop's collection of records, and the server's clock.

    Args:
        collection: the collection.
        closing: see `OfLoop`.
    """

    def __init__(
        self, collection: AsyncCollection[Document], closing: partial[Coroutine[Any, Any, None]] | None
    ) -> None:
        super().__init__(closing)
        self.collection = collection
        self.leasing: AsyncCollection[Document] = collection.with_options(write_concern=WriteConcern(w=1))
        """The collection with write concern 1, for leases: waiting for replicas costs more than losing a lease."""
        self.clock: ServerClock = ServerClock(collection.database, self.tasks)

    def why_unreachable(self) -> str:
        """The error of the operating system if no server can be reached, such as a refused connection; else ""."""
        servers = self.collection.database.client.topology_description.server_descriptions().values()
        found = [_SYSTEM_ERROR.search(str(server.error)) for server in servers]
        return ", ".join(sorted({error[0].rstrip() for error in found if error})) if all(found) else ""


class Server:
    """A MongoDB deployment, and the collection in it.

    Args:
        db_name: name of the database.
        collection_name: name of the collection.
        connection: a user's client, which is used only in its own loop and never closed here.
        options: arguments of ``pymongo.AsyncMongoClient``.

    Raises:
        TypeError: the driver does not know an option.
        ConfigurationError: an option or a name has a value that cannot be used.
    """

    def __init__(self, db_name: str, collection_name: str, connection: Any, options: Mapping[str, Any]) -> None:
        if connection is not None and not isinstance(connection, AsyncMongoClient):
            kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
            hint = "; an address is given as host=" if isinstance(connection, str) else ""
            raise ConfigurationError(f"connection has to be a pymongo.AsyncMongoClient, not a {kind}{hint}")
        self._lent: Client | None = connection
        self._options = options
        self._names = db_name, collection_name
        self.where: str = (
            "a client of the user's" if connection is not None else _without_credentials(options.get("host"))
        )
        _check_names(db_name, collection_name)
        _check(options)

    async def connect(self) -> Connection:
        """Make the client of the running loop; it connects when it is first used."""
        if self._lent is not None:
            return Connection(self._collection(self._lent), None)
        client = await asyncio.to_thread(self._make_aside)  # since it reads files, such as certificates
        if client is None:
            client = self._make()
        return Connection(self._collection(client), partial(_close, client))

    def _make_aside(self) -> Client | None:
        """The client; None if it has to be made in its loop, where it begins a task that tells listeners of servers."""
        return None if _tells_of_servers(self._options) else self._make()

    def _make(self) -> Client:
        return AsyncMongoClient(**{**_defaults(self._options), **self._options})

    def _collection(self, client: Client) -> AsyncCollection[Document]:
        database, collection = self._names
        return client.get_database(database, codec_options=_CODEC).get_collection(collection)


def _tells_of_servers(options: Mapping[str, Any]) -> bool:
    """Whether there is a listener for the driver's servers or their topology, of *options* or of the whole process."""
    ours = {"event_listeners": options.get("event_listeners")}
    listeners = ClientOptions("", "", "", ours).event_listeners  # with those of pymongo.monitoring.register
    return any(isinstance(each, ServerListener | TopologyListener) for each in listeners)


async def _close(client: Client) -> None:
    with pymongo.timeout(CLOSE_WITHIN_S):
        await client.close()


def _defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `DEFAULTS` that neither *options* nor an address set."""
    text = " ".join((*options, *_hosts(options.get("host")))).lower()
    given = set(re.findall(r"\w*timeoutms|retrywrites", text))
    if "timeoutms" in given:  # it replaces the other timeouts
        given |= {"sockettimeoutms", "serverselectiontimeoutms"}
    return {name: value for name, value in DEFAULTS.items() if name.lower() not in given}


def _check(options: Mapping[str, Any]) -> None:
    """Check that the driver accepts *options*; no error message repeats a password.

    No client is made for that, since it would read files, and the caller may be in an event loop.
    """
    refuse_unknown("MongoDBBackend", dict.fromkeys(options.keys() & {"uri", "url"}), ("host",))
    try:
        for address in _hosts(options.get("host")):
            if "://" in address:
                # Without the DNS look-up of mongodb+srv.
                uri_parser.parse_uri(address.replace("mongodb+srv://", "mongodb://", 1), warn=False)
        for name in options.keys() - NAMED:
            common.validate(name, options[name])
        if not isinstance(options.get("port", 0), int):
            raise TypeError(f"port has to be a number, not {options['port']!r}")
    except InvalidURI:
        hint = "it should look like mongodb://user:password@host:27017, with special characters %-encoded"
        raise ConfigurationError(f"the address of the MongoDB server cannot be read: {hint}") from None
    except DriverConfigurationError as exc:
        if str(exc).startswith("Unknown option") and "://" not in str(options.get("host", "")):
            raise TypeError(f"MongoDBBackend: {exc}") from None
        raise ConfigurationError(f"MongoDB: {exc}") from None
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"MongoDB: {exc}") from None


def _check_names(database: str, collection: str) -> None:
    """Refuse names that the driver or the server would refuse."""
    if not database or set(database) & set('/\\. "$\0') or len(database.encode()) >= 64:
        raise ConfigurationError(
            f"{database!r} is not the name of a database: 1 to 63 bytes, no dots, slashes, spaces, quotes or $"
        )
    if not collection or set(collection) & set("$\0") or "" in collection.split("."):
        raise ConfigurationError(
            f"{collection!r} is not the name of a collection: use no $, and no dot at its beginning or end"
        )


def _hosts(host: object) -> list[str]:
    hosts = cast("Sequence[object]", host) if isinstance(host, list | tuple) else [host or "mongodb://localhost"]
    return list(map(str, hosts))


def _without_credentials(host: object) -> str:
    """The address without user, password and options."""
    return ",".join(re.sub(r"(?<=//)[^/?]*@|[?].*", "", each) for each in _hosts(host))
