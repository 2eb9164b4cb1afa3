"""DynamoDBStore against a real server."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from aiohttp_cache_di.backends.dynamodb.items import Layout
from aiohttp_cache_di.backends.dynamodb.store import DynamoDBStore
from aiohttp_cache_di.entries.codec import EntryCodec
from tests.backends.store_contract import MakeStore, StoreContract
from tests.ministack import CREDENTIALS, MinistackServer


def make_store(server: MinistackServer, table: str, codec: EntryCodec | None = None, **options: Any) -> DynamoDBStore:
    """Make a store in this table, which is created if need be."""
    return DynamoDBStore(
        Layout(table, "responses", "k", "v"),
        codec=codec or EntryCodec(),
        create=True,
        options={"endpoint_url": server.url, **CREDENTIALS, **options},
    )


class TestContract(StoreContract):
    """All that every store keeps to."""

    @pytest.fixture
    def make(self, ministack: MinistackServer) -> MakeStore:
        self.server, self.table = ministack, uuid.uuid4().hex
        return lambda codec: make_store(ministack, self.table, codec)

    async def meddle(self, key: str, change: Callable[[bytes], Any]) -> None:
        at = {"k": {"S": f"responses:{key}"}}
        item = self.server.call("GetItem", TableName=self.table, Key=at)["Item"]
        value = change(base64.b64decode(item["v"]["B"]))
        as_text = {str: "S", int: "N"}
        if isinstance(value, bytes):
            item["v"] = {"B": base64.b64encode(value).decode()}
        else:
            item["v"] = {"NULL": True} if value is None else {as_text[type(value)]: str(value)}
        self.server.call("PutItem", TableName=self.table, Item=item)
