"""Items of a table and what is asked of it: as pure functions of records.

An item is ``{k: namespace and key, v: frame, i: info, f: kind, ttl, until, o: owner, l: leased until}``. Record and
lease share it: one call looks for the record or takes the lease, and a write gives the lease back without a call of its
own. ``ttl`` is for the server, in whole seconds, and stands in each item; ``until`` is exact, and missing where it
is never.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.backends.store.inspecting import packed_info
from aiohttp_cache_di.entries.codec import leads_on
from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["NO_RECORD", "Attributes", "Layout"]

Attributes: TypeAlias = Mapping[str, Mapping[str, Any]]

ITEM_BYTES: Final = 400 * 1024  # DynamoDB item limit, names included
SPARE_BYTES: Final = 6 * 1024  # for all but the frame: a key that is named beside its digest, and the other attributes
INFO_BYTES: Final = 512  # of what is told of a record; more is read from its frame
PAGE: Final = 500  # items of a page of a walk, or 1 MB
TABLE: Final = "[A-Za-z0-9_.-]{3,255}"
KEY_BYTES: Final = 2048  # DynamoDB limit of a partition key
FAR_AT: Final = 253_402_300_800  # the year 10000
DIGEST: Final = "\0sha256 "  # begins the names of keys that cannot be named as they are

NO_RECORD: Final = "-1"  # the kind of an item that is a lease alone; a record has 1 if it leads on, else 0
NAMES: Final = {"#f": "f", "#i": "i", "#l": "l", "#n": "n", "#o": "o", "#t": "ttl", "#u": "until"}  # in expressions
OURS: Final = frozenset(NAMES.values())
BESIDE_FRAME: Final = "#k, #f, #n, #u"
IS_FREE: Final = "attribute_not_exists(#l) OR #l <= :now"


class Layout(Struct, frozen=True):
    """How the items of one cache look; a `RowLayout`, and the requests that are made of it.

    Args:
        table: name or ARN of the table.
        namespace: begins each key, so that several caches may share a table.
        key_attr: name of the hash key.
        val_attr: name of the attribute that holds the frame.
    """

    table: str
    namespace: str
    key_attr: str
    val_attr: str

    def __post_init__(self) -> None:
        if not (self.table.startswith("arn:") or re.fullmatch(TABLE, self.table)):
            raise ConfigurationError(
                f"{self.table!r} is no name of a DynamoDB table: 3 to 255 letters, digits, dots, hyphens or underscores"
            )
        names = (self.key_attr, self.val_attr)
        if not all(names) or names[0] == names[1] or OURS & set(names):
            taken = ", ".join(sorted(OURS))
            raise ConfigurationError(
                f"key_attr_name={names[0]!r}, val_attr_name={names[1]!r}: give two names, and none of {taken}"
            )

    @property
    def prefix(self) -> str:
        """What all keys of the namespace begin with, and none of another's, ``app:responses`` beside ``app`` either."""
        return self.namespace.replace("%", "%25").replace(":", "%3A") + ":"

    @property
    def value_bytes(self) -> int:
        """The largest frame that an item takes."""
        return ITEM_BYTES - SPARE_BYTES - len(self.key_attr.encode()) - len(self.val_attr.encode())

    # ---- keys

    def name_of(self, key: str) -> str:
        """The hash key of *key*: with the namespace, or a digest of what DynamoDB does not take."""
        name = f"{self.prefix}{key}"
        if self._is_plain(key, name):
            return name
        return f"{self.prefix}{DIGEST}{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def at(self, name: str) -> Attributes:
        """The primary key of the item called *name*."""
        return {self.key_attr: {"S": name}}

    def key_in(self, row: Attributes) -> str:
        """The key that *row* is for."""
        spelt: bytes | None = row.get("n", {}).get("B")
        if spelt is not None:
            return spelt.decode("utf-8", "surrogatepass")
        return self.name_in(row).removeprefix(self.prefix)

    def name_in(self, item: Attributes) -> str:
        """The hash key of *item*."""
        return str(item[self.key_attr]["S"])

    @staticmethod
    def _is_plain(key: str, name: str) -> bool:
        try:
            return len(name.encode()) <= KEY_BYTES and not key.startswith("\0")
        except UnicodeEncodeError:
            return False

    # ---- records

    def item_of(self, record: Record, frame: bytes) -> Attributes:
        """The item that holds *record*, without any lease."""
        name = self.name_of(record.key)
        is_for_ever = not record.until < FAR_AT
        until = FAR_AT if is_for_ever else max(record.until, 0.0)
        item: dict[str, Mapping[str, Any]] = {
            **self.at(name),
            self.val_attr: {"B": frame},
            "f": {"N": str(int(leads_on(frame)))},
            "ttl": {"N": str(math.ceil(until))},  # never left out, since a lease adds a short one where there is none
        }
        info = packed_info(record)
        if info is not None and len(info) < INFO_BYTES:
            item["i"] = {"B": info}
        if not is_for_ever:
            item["until"] = {"N": f"{until:.3f}"}
        if name.startswith(f"{self.prefix}{DIGEST}"):
            item["n"] = {"B": record.key.encode("utf-8", "surrogatepass")}
        return item

    def frame_in(self, row: Attributes) -> object:
        """What stands in the place of the frame; None where no record is."""
        for value in row.get(self.val_attr, {}).values():
            return value
        return None

    def info_in(self, row: Attributes) -> Any:
        """What is told of the record in *row*; None where nothing is."""
        return row.get("i", {}).get("B")

    def has_record(self, row: Attributes, now_s: float) -> bool:
        """Whether *row* is more than a lease, and not to be dropped by *now_s*."""
        until = row.get("until", {}).get("N")
        return row.get("f", {}).get("N") != NO_RECORD and (until is None or float(until) > now_s)

    def leads_on(self, row: Attributes) -> bool:
        """Whether the record in *row* is a redirect or an alias."""
        return row.get("f", {}).get("N") == "1"

    def fits(self, record: Record, frame: bytes) -> bool:
        """Whether DynamoDB takes an item for *record*, which holds *frame*."""
        is_plain = self._is_plain(record.key, f"{self.prefix}{record.key}")
        named = 0 if is_plain else len(record.key.encode("utf-8", "surrogatepass"))
        return len(frame) + named <= self.value_bytes + SPARE_BYTES // 2

    # ---- walks

    @property
    def projection(self) -> dict[str, Any]:
        """Arguments that leave the frames of items where they are."""
        return self._expressed(ProjectionExpression=BESIDE_FRAME)

    def scanning(self, *, items: bool, records_only: bool, infos: bool = False, also: str = "") -> dict[str, Any]:
        """Arguments of a Scan over this cache's items.

        Args:
            also: a condition on them.
        """
        wanted = "begins_with(#k, :namespace)" + (" AND attribute_exists(#v)" if records_only else "") + also
        shown = {} if items else {"ProjectionExpression": BESIDE_FRAME + (", #i" if infos else "")}
        return {
            "TableName": self.table,
            "Limit": PAGE,
            **self._expressed(FilterExpression=wanted, **shown),
            "ExpressionAttributeValues": {":namespace": {"S": self.prefix}},
        }

    def scanning_expired(self, now_s: float) -> dict[str, Any]:
        """Arguments of a Scan over the records of this cache whose time has come."""
        query = self.scanning(items=False, records_only=True, also=" AND #u <= :now")
        query["ExpressionAttributeValues"][":now"] = {"N": f"{now_s:.3f}"}
        return query

    def dropping_expired(self, name: str, now_s: float) -> dict[str, Any]:
        """Arguments of a DeleteItem of a record, unless another has taken its place."""
        return self._changing(name, "#u <= :now", {":now": {"N": f"{now_s:.3f}"}})

    # ---- leases

    def taking(self, name: str, token: str, now_s: float, ttl_s: float) -> dict[str, Any]:
        """Arguments of an UpdateItem that takes a free lease, and gives back what it changes."""
        update = "SET #o = :o, #l = :l, #f = if_not_exists(#f, :f), #t = if_not_exists(#t, :t)"
        taking = self._changing(name, IS_FREE, _lease(token, now_s, ttl_s), update)
        return {**taking, "ReturnValues": "UPDATED_OLD"}

    def looking(self, name: str, token: str, now_s: float, ttl_s: float) -> dict[str, Any]:
        """Arguments of an UpdateItem that takes the lease unless another has it, or a record is there.

        What is there comes with the error that says so.
        """
        condition = f"attribute_not_exists(#k) OR (({IS_FREE}) AND (#f = :f OR #u <= :s))"
        update = "SET #o = :o, #l = :l, #f = :f, #t = :t REMOVE #v, #i, #u"
        values = {**_lease(token, now_s, ttl_s), ":s": {"N": f"{now_s:.3f}"}}
        return {**self._changing(name, condition, values, update), "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}

    def renewing(self, name: str, token: str, until_s: float) -> dict[str, Any]:
        """Arguments of an UpdateItem that lets a lease hold until then."""
        values = {":o": {"S": token}, ":l": {"N": str(round(until_s * 1000))}}
        return self._changing(name, "#o = :o", values, "SET #l = :l")

    def dropping(self, name: str, token: str) -> dict[str, Any]:
        """Arguments of a DeleteItem that gives back a lease on nothing."""
        return self._changing(name, "#o = :o AND #f = :f", {":o": {"S": token}, ":f": {"N": NO_RECORD}})

    def giving_back(self, name: str, token: str) -> dict[str, Any]:
        """Arguments of an UpdateItem that gives back a lease on a record."""
        return self._changing(name, "#o = :o", {":o": {"S": token}}, "REMOVE #o, #l")

    # ---- expressions

    def _changing(
        self, name: str, condition: str, values: Mapping[str, Any], update: str | None = None
    ) -> dict[str, Any]:
        """Arguments of an UpdateItem, or without *update* of a DeleteItem, of the item called *name*."""
        expressions = {"ConditionExpression": condition, **({"UpdateExpression": update} if update else {})}
        return {
            "TableName": self.table,
            "Key": self.at(name),
            **self._expressed(**expressions),
            "ExpressionAttributeValues": values,
        }

    def _expressed(self, **expressions: str) -> dict[str, Any]:
        """*expressions*, with the names in them: no more, which DynamoDB refuses."""
        known = {**NAMES, "#k": self.key_attr, "#v": self.val_attr}
        used = dict.fromkeys(re.findall("#[a-z]", " ".join(expressions.values())))
        return {**expressions, "ExpressionAttributeNames": {name: known[name] for name in used}}


def _lease(token: str, now_s: float, ttl_s: float) -> dict[str, Any]:
    """The values of expressions that take a lease."""
    return {
        ":o": {"S": token},
        ":l": {"N": str(round((now_s + ttl_s) * 1000))},
        ":now": {"N": str(round(now_s * 1000))},
        ":f": {"N": NO_RECORD},
        ":t": {"N": str(math.ceil(now_s + ttl_s))},
    }
