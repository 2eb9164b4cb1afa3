"""BatchGetItem and BatchWriteItem, repeated with exponential backoff for items that the server leaves unprocessed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiohttp_cache_di.backends.dynamodb.client import Client, error_code, part_of
from aiohttp_cache_di.backends.dynamodb.items import Attributes
from aiohttp_cache_di.errors import StorageError

__all__ = ["READ_AT_ONCE", "read_items", "write_items"]

READ_AT_ONCE: Final = 100  # BatchGetItem: distinct keys
WRITTEN_AT_ONCE: Final = 25  # BatchWriteItem: requests
WRITTEN_BYTES: Final = 700 * 1024  # in base 64 less than 1 MiB, from which aiohttp warns of a large body
PAUSE_S: Final = 0.05  # before unprocessed items are asked for again; doubles
PAUSE_MAX_S: Final = 2.0
ATTEMPTS: Final = 8  # in a row without any progress


async def read_items(
    client: Client,
    table: str,
    keys: Sequence[Attributes],
    *,
    is_consistent: bool,
    only: Mapping[str, Any],
) -> list[Attributes]:
    """The items under *keys* (distinct, at most `READ_AT_ONCE`), in any order.

    Args:
        is_consistent: read consistently, at twice the price.
        only: arguments that select attributes.

    Raises:
        StorageError: the server is throttled.
    """
    if len(keys) == 1:  # faster, at the same price
        answer = await client.get_item(TableName=table, Key=keys[0], ConsistentRead=is_consistent, **only)
        return [answer["Item"]] if "Item" in answer else []
    terms = {"ConsistentRead": is_consistent, **only}
    left: Any = {table: {"Keys": keys}}
    items: list[Attributes] = []
    failures = 0
    while True:
        # The terms are added each time: some servers (dynalite) return unprocessed keys without them.
        asked = {name: {"Keys": each["Keys"], **terms} for name, each in left.items()}
        answer = await client.batch_get_item(RequestItems=asked)
        got: list[Attributes] = [item for each in part_of(answer, "Responses").values() for item in each]
        items += got
        left = answer.get("UnprocessedKeys")
        if not left:
            return items
        failures = 0 if got else failures + 1
        await _pause(failures)  # none after progress, since unprocessed keys may mean only that an answer has 16 MB


async def write_items(
    client: Client, table: str, requests: Mapping[str, Any], weights: Mapping[str, int] | None = None
) -> dict[str, StorageError]:
    """Send *requests*, by name; return the errors of those that failed, or raise if all did.

    Args:
        weights: sizes in bytes of large requests, by name.
    """
    groups = _grouped(requests, weights or {})
    results = await asyncio.gather(
        *(_write(client, table, [requests[name] for name in group]) for group in groups), return_exceptions=True
    )
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors:
        if not isinstance(error, Exception) or len(errors) == len(groups):
            raise error
    failed: dict[str, StorageError] = {}
    for group, result in zip(groups, results, strict=True):
        if isinstance(result, BaseException):
            failure = StorageError(f"DynamoDB has not written an item: {error_code(result) or type(result).__name__}")
            failed |= dict.fromkeys(group, failure)
    return failed


def _grouped(names: Iterable[str], weights: Mapping[str, int]) -> list[list[str]]:
    groups: list[list[str]] = []
    weight = 0
    for name in names:
        weight += weights.get(name, 0)
        if not groups or len(groups[-1]) == WRITTEN_AT_ONCE or weight > WRITTEN_BYTES:
            groups.append([])
            weight = weights.get(name, 0)
        groups[-1].append(name)
    return groups


async def _write(client: Client, table: str, requests: Sequence[Any]) -> None:
    left: Any = {table: requests}
    count, failures = len(requests), 0
    while True:
        left = part_of(await client.batch_write_item(RequestItems=left), "UnprocessedItems", may_lack=True)
        if not left:
            return
        before, count = count, sum(map(len, left.values()))
        failures = failures + 1 if count == before else 1
        await _pause(failures)


async def _pause(failures: int) -> None:
    """Sleep after a number of answers without progress, or raise after too many."""
    if failures >= ATTEMPTS:
        raise StorageError("DynamoDB leaves requests unprocessed: it is throttled")
    if failures:
        pause_s = min(PAUSE_S * 2 ** (failures - 1), PAUSE_MAX_S)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # spreads clients, keeps no secret
