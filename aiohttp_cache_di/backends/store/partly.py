"""Answers of a store of which some are missing."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp_cache_di.backends.store.contract import Found
from aiohttp_cache_di.errors import StorageError

__all__ = ["PartlyReadError"]


class PartlyReadError(StorageError):
    """Some of the servers of a store have not answered a `get`; what the others have said is not lost by it.

    Args:
        answers: in the order of the keys; why there is none for those that were not looked up.
    """

    def __init__(self, answers: Sequence[Found | StorageError | None]) -> None:
        missing = [each for each in answers if isinstance(each, StorageError)]
        super().__init__(f"{len(missing)} of {len(answers)} keys could not be looked up: {missing[0]}")
        self.__cause__: BaseException | None = missing[0].__cause__
        self.answers = answers
