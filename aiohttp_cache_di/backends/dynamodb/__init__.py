"""Storage in DynamoDB, shared by any number of machines."""

from __future__ import annotations

from aiohttp_cache_di.backends.dynamodb.backend import DynamoDBBackend, DynamoDbCache

__all__ = ["DynamoDBBackend", "DynamoDbCache"]
