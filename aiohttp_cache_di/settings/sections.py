"""The sections of the settings: one for each store, and one for the client's connections."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack, cast

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, PrivateAttr, SecretStr, model_validator

from aiohttp_cache_di.settings.kinds import (
    Flag,
    MongoDBUrl,
    OptionalDuration,
    OptionalEndpoint,
    OptionalPath,
    OptionalSecret,
    OptionalText,
    RedisUrl,
    Wait,
)

if TYPE_CHECKING:
    from aiohttp_cache_di.settings.typed import (
        ClientSettingsOptions,
        DynamoDBSettingsOptions,
        FilesystemSettingsOptions,
        MongoDBSettingsOptions,
        RedisSettingsOptions,
        SQLiteSettingsOptions,
    )

__all__ = [
    "ClientSettings",
    "DynamoDBSettings",
    "FilesystemSettings",
    "MongoDBSettings",
    "RedisSettings",
    "SQLiteSettings",
    "Section",
    "StoreSection",
]


class Section(BaseModel):
    """The settings of one part of a cache."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StoreSection(Section):
    """The settings of one store."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the store's backend that these settings stand for, besides those of all backends."""


class SQLiteSettings(StoreSection):
    """Settings of ``backend=sqlite``."""

    path: OptionalPath = Field(
        default=None,
        description="database file, or the directory for it (then it may end in a slash); none: "
        "`<cache name>.sqlite` in the user's cache directory",
    )
    timeout: Wait = Field(
        default=0.15, description="how long to wait for another process's lock; keep it below storage_deadline"
    )
    fast_save: Flag = Field(
        default=False, description="do not wait for the disk; a power cut may lose everything stored"
    )

    if TYPE_CHECKING:

        def __init__(self, **values: Unpack[SQLiteSettingsOptions]) -> None: ...

    _is_directory: bool = PrivateAttr(default=False)

    @model_validator(mode="wrap")
    @classmethod
    def _note_slash(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Note a slash at the end of the path, which `Path` drops."""
        made = handler(data)
        if isinstance(data, Mapping):
            given: object = cast("Mapping[str, object]", data).get("path")
            made._is_directory = isinstance(given, str) and given[-1:] in ("/", os.sep)
        return made

    @property
    def is_directory(self) -> bool:
        """Whether the path was written with a slash at its end, and so means a directory."""
        return self._is_directory

    def arguments(self) -> dict[str, Any]:
        """Those of `SQLiteBackend`, without the file, whose place depends on the machine."""
        return {"timeout": self.timeout, "fast_save": self.fast_save}


class RedisSettings(StoreSection):
    """Settings of ``backend=redis``."""

    url: RedisUrl = Field(
        default=SecretStr("redis://localhost:6379/0"), description="address of the server, the cluster or the sentinels"
    )
    username: OptionalText = Field(default=None, description="user name, if it is not in the URL")
    password: OptionalSecret = Field(default=None, description="password, if it is not in the URL")
    near_tier: OptionalDuration = Field(
        default=None, description="how long a process may use copies in memory of entries read from the server"
    )

    if TYPE_CHECKING:

        def __init__(self, **values: Unpack[RedisSettingsOptions]) -> None: ...

    def arguments(self) -> dict[str, Any]:
        """Those of `RedisBackend`."""
        password = None if self.password is None else self.password.get_secret_value()
        own = {"username": self.username, "password": password}
        address: dict[str, Any] = {"address": self.url.get_secret_value(), "near_tier_s": self.near_tier}
        return address | _given(own)


class MongoDBSettings(StoreSection):
    """Settings of ``backend=mongodb``."""

    url: MongoDBUrl = Field(default=SecretStr("mongodb://localhost:27017"), description="address of the server")
    database: OptionalText = Field(
        default=None, min_length=1, description="name of the database; none: the cache's name"
    )
    near_tier: OptionalDuration = Field(
        default=None, description="how long a process may use copies in memory of entries read from the server"
    )

    if TYPE_CHECKING:

        def __init__(self, **values: Unpack[MongoDBSettingsOptions]) -> None: ...

    def arguments(self) -> dict[str, Any]:
        """Those of `MongoDBBackend`."""
        address: dict[str, Any] = {"host": self.url.get_secret_value(), "near_tier_s": self.near_tier}
        return address | _given({"cache_name": self.database})


class DynamoDBSettings(StoreSection):
    """Settings of ``backend=dynamodb``; credentials are found as boto finds them."""

    table: OptionalText = Field(default=None, min_length=3, description="name of the table; none: the cache's name")
    region: OptionalText = Field(default=None, description="AWS region; none: as boto finds it (AWS_DEFAULT_REGION …)")
    endpoint: OptionalEndpoint = Field(default=None, description="URL of an endpoint other than AWS's own")
    create_table: Flag = Field(default=False, description="create the table if it does not exist")
    consistent_reads: Flag = Field(default=False, description="use consistent reads, at twice the price")
    near_tier: OptionalDuration = Field(
        default=None, description="how long a process may use copies in memory of entries read from the table"
    )

    if TYPE_CHECKING:

        def __init__(self, **values: Unpack[DynamoDBSettingsOptions]) -> None: ...

    def arguments(self) -> dict[str, Any]:
        """Those of `DynamoDBBackend`."""
        table: dict[str, Any] = {
            "create_if_not_exists": self.create_table,
            "consistent_reads": self.consistent_reads,
            "near_tier_s": self.near_tier,
        }
        return table | _given({"cache_name": self.table, "region_name": self.region, "endpoint_url": self.endpoint})


class FilesystemSettings(StoreSection):
    """Settings of ``backend=filesystem``."""

    path: OptionalPath = Field(
        default=None, description="directory of the files; none: `<cache name>` in the user's cache directory"
    )
    fsync: Flag = Field(default=False, description="call fsync for each response before it counts as stored")

    if TYPE_CHECKING:

        def __init__(self, **values: Unpack[FilesystemSettingsOptions]) -> None: ...

    def arguments(self) -> dict[str, Any]:
        """Those of `FileBackend`, without the directory, whose place depends on the machine."""
        return {"fsync": self.fsync}


class ClientSettings(Section):
    """Settings of the client's connections."""

    cookies: Flag = Field(default=False, description="keep cookies between requests, shared by all users")
    timeout: OptionalDuration = Field(default=300.0, description="time limit of a whole request")
    connect_timeout: OptionalDuration = Field(default=30.0, description="time limit of opening a connection")
    connections: int = Field(default=100, ge=0, description="most connections (0: no limit)")
    connections_per_host: int = Field(default=0, ge=0, description="most connections to one host (0: no limit)")
    trust_env: Flag = Field(default=False, description="use proxies from HTTP_PROXY … and credentials from ~/.netrc")

    if TYPE_CHECKING:

        def __init__(self, **values: Unpack[ClientSettingsOptions]) -> None: ...


def _given(arguments: Mapping[str, str | None]) -> dict[str, str]:
    """Those of *arguments* that are not None, for which the backend or its driver has a default."""
    return {name: value for name, value in arguments.items() if value is not None}
