"""The items of a table, and the arguments of requests for them, as pure functions.

An item is ``{k: namespace and key, v: frame, i: info, f: kind, ttl, until, o: owner, l: leased until}``. Record and
lease share it, so that one call looks the record up or takes the lease, and writing the record releases the lease.
``ttl`` is for DynamoDB's expiry, in whole seconds, and in all items; ``until`` is the exact expiry, and missing in
records that never expire.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.backends.rows import FAR_AT, RowRecord
from aiohttp_cache_di.backends.store import is_mark
from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["KEY_BYTES", "NO_RECORD", "PAGE", "Attributes", "Layout"]

Attributes: TypeAlias = Mapping[str, Mapping[str, Any]]

ITEM_BYTES: Final = 400 * 1024  # DynamoDB item limit, names included
SPARE_BYTES: Final = 6 * 1024  # for all but the frame: a long key beside its digest, and the other attributes
INFO_BYTES: Final = 512  # largest info that is stored beside its frame
PAGE: Final = 500  # items in a page of a walk, if they have less than 1 MB
TABLE: Final = "[A-Za-z0-9_.-]{3,255}"
NAME_BYTES: Final = 2048  # DynamoDB limit of a partition key
KEY_BYTES: Final = 3 * 1024  # longest key
DIGEST: Final = "\0sha256 "  # begins the names of keys that DynamoDB does not accept as they are
NO_RECORD: Final = "-1"  # the kind of an item that is only a lease; a record has 1 if it leads on, else 0
NAMES: Final = {"#f": "f", "#i": "i", "#l": "l", "#n": "n", "#o": "o", "#t": "ttl", "#u": "until"}  # in expressions
OURS: Final = frozenset(NAMES.values())
BESIDE_FRAME: Final = "#k, #f, #n, #u"


class Layout(Struct, frozen=True):
    """The layout of the items of one cache, and the requests for them.

    Args:
        table: name or ARN of the table.
        namespace: first part of each name, so that several caches may share a table.
        key_attr: name of the partition key.
        val_attr: name of the attribute for the frame.
    """

    table: str
    namespace: str
    key_attr: str
    val_attr: str

    def __post_init__(self) -> None:
        if not (self.table.startswith("arn:") or re.fullmatch(TABLE, self.table)):
            raise ConfigurationError(
                f"{self.table!r} is not the name of a table: use 3 to 255 letters, digits, dots, hyphens or underscores"
            )
        names = (self.key_attr, self.val_attr)
        if not all(names) or names[0] == names[1] or OURS & set(names):
            taken = ", ".join(sorted(OURS))
            raise ConfigurationError(
                f"key_attr_name={names[0]!r}, val_attr_name={names[1]!r}: give two different names, and none of {taken}"
            )

    @property
    def prefix(self) -> str:
        """The prefix of all names of the namespace, and of no other one's, such as ``app:responses`` beside ``app``."""
        return self.namespace.replace("%", "%25").replace(":", "%3A") + ":"

    @property
    def value_bytes(self) -> int:
        """The size of the largest frame in an item."""
        return ITEM_BYTES - SPARE_BYTES - len(self.key_attr.encode()) - len(self.val_attr.encode())

    # ---- keys

    def name_of(self, key: str) -> str:
        """The name (partition key) for *key*: the namespace, and the key or, if DynamoDB does not take it, a digest."""
        name = f"{self.prefix}{key}"
        with suppress(UnicodeEncodeError):
            if len(name.encode()) <= NAME_BYTES and not key.startswith("\0"):
                return name
        return f"{self.prefix}{DIGEST}{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def at(self, name: str) -> Attributes:
        """The primary key of the item *name*."""
        return {self.key_attr: {"S": name}}

    def name_in(self, item: Attributes) -> str:
        """The name of *item*."""
        return str(item[self.key_attr]["S"])

    def is_mark(self, name: str) -> bool:
        """Whether the item *name* has the record of a purge."""
        return is_mark(name.removeprefix(self.prefix))

    # ---- records

    def item_of(self, record: RowRecord) -> Attributes:
        """The item for *record*, without a lease."""
        name = self.name_of(record.key)
        item: dict[str, Mapping[str, Any]] = {
            **self.at(name),
            self.val_attr: {"B": record.frame},
            "f": {"N": str(int(record.leads_on))},
            # In all records: a lease would add a short one if it were missing.
            "ttl": {"N": str(math.ceil(min(record.until, FAR_AT)))},
        }
        if record.info is not None and len(record.info) < INFO_BYTES:
            item["i"] = {"B": record.info}
        if record.until < math.inf:
            item["until"] = {"N": f"{record.until:.3f}"}
        if name.startswith(f"{self.prefix}{DIGEST}"):
            item["n"] = {"B": record.key.encode("utf-8", "surrogatepass")}
        return item

    def record_in(self, item: Attributes) -> RowRecord | None:
        """The record in *item*; None if it is only a lease. Another program's item has an unreadable one."""
        kind, until = item.get("f", {}).get("N"), item.get("until", {}).get("N")
        if kind == NO_RECORD:
            return None
        spelt: bytes | None = item.get("n", {}).get("B")
        return RowRecord(
            self.name_in(item).removeprefix(self.prefix) if spelt is None else spelt.decode("utf-8", "surrogatepass"),
            kind == "1",
            math.inf if until is None else float(until),
            next(iter(item.get(self.val_attr, {}).values()), None),
            item.get("i", {}).get("B"),
        )

    # ---- walks

    @property
    def projection(self) -> dict[str, Any]:
        """Arguments that select all attributes but frames and infos."""
        return self._expressed(ProjectionExpression=BESIDE_FRAME)

    def scanning(
        self, *, frames: bool = False, records_only: bool, infos: bool = False, also: str = ""
    ) -> dict[str, Any]:
        """Arguments of a Scan over this cache's items.

        Args:
            frames: with all attributes.
            records_only: without items that are only leases.
            infos: with infos.
            also: a further condition, which begins with ``AND``.
        """
        wanted = "begins_with(#k, :namespace)" + (" AND attribute_exists(#v)" if records_only else "") + also
        shown = {} if frames else {"ProjectionExpression": BESIDE_FRAME + (", #i" if infos else "")}
        return {
            "TableName": self.table,
            "Limit": PAGE,
            **self._expressed(FilterExpression=wanted, **shown),
            "ExpressionAttributeValues": {":namespace": {"S": self.prefix}},
        }

    def scanning_expired(self, now_s: float) -> dict[str, Any]:
        """Arguments of a Scan over this cache's records that have expired at *now_s*."""
        query = self.scanning(records_only=True, also=" AND #u <= :now")
        query["ExpressionAttributeValues"][":now"] = {"N": f"{now_s:.3f}"}
        return query

    # ---- expressions

    def changing(
        self, name: str, condition: str, values: Mapping[str, Any], update: str | None = None
    ) -> dict[str, Any]:
        """Arguments of an UpdateItem, or (without *update*) a DeleteItem, for the item *name*.

        Args:
            values: values by their names in expressions; may have others.
        """
        expressions = {"ConditionExpression": condition, **({"UpdateExpression": update} if update else {})}
        used = re.findall(":[a-z]+", " ".join(expressions.values()))
        return {
            "TableName": self.table,
            "Key": self.at(name),
            **self._expressed(**expressions),
            "ExpressionAttributeValues": {each: values[each] for each in used},
        }

    def _expressed(self, **expressions: str) -> dict[str, Any]:
        """*expressions*, and the attribute names that they use; DynamoDB refuses unused ones."""
        known = {**NAMES, "#k": self.key_attr, "#v": self.val_attr}
        used = dict.fromkeys(re.findall("#[a-z]", " ".join(expressions.values())))
        return {**expressions, "ExpressionAttributeNames": {name: known[name] for name in used}}
