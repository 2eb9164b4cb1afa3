"""A real server for tests that speaks MongoDB's wire protocol: SecantusDB, from the wheel of that name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from unittest import SkipTest

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.server import RunsAlready, ServerProcess

__all__ = ["RunningMongoDB", "SecantusServer"]

# A fifth of it has to hold what several clients write at once, thrice (16 MB each): if uncommitted data fills that,
# writers try to evict what cannot be evicted, and on a busy machine the server never answers again.
CACHE: Final = "512M"


class SecantusServer(ServerProcess):
    """A replica set of one server, which has change streams, or a standalone server, which has none.

    Args:
        directory: where it keeps its data and log; the caller removes it.
        standalone: whether it is a standalone server rather than a replica set.
    """

    name = "secantus"

    def __init__(self, directory: Path, *, standalone: bool = False) -> None:
        if find_spec("secantus") is None:
            raise SkipTest("secantusdb has no wheel for this Python")  # benchmarks see it too
        super().__init__(directory)
        self.standalone = standalone

    @property
    def url(self) -> str:
        """The address."""
        return f"mongodb://127.0.0.1:{self.port}"

    def command_line(self) -> Sequence[str]:
        """Run the module with the Python of the tests."""
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--storage-path", str(self.directory / "data")]
        return [sys.executable, "-m", "secantus", *options, "--cache-size", CACHE] + ["--standalone"] * self.standalone

    def answers(self) -> bool:
        """Whether it writes a document: its storage may be stuck although it answers a ping."""
        try:
            with self.client(serverSelectionTimeoutMS=200, socketTimeoutMS=2000) as client:
                client["test-alive"].documents.replace_one({"_id": 1}, {}, upsert=True)
        except PyMongoError:
            return False
        return True

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """Make a synchronous client, to inspect or change what the server holds."""
        return MongoClient(self.url, directConnection=True, **options)


class RunningMongoDB(RunsAlready, SecantusServer):
    """A server that runs already and speaks MongoDB's wire protocol."""
