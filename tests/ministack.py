"""A real server for tests with the API of DynamoDB: MiniStack, which enforces DynamoDB's limits, from its wheel."""

from __future__ import annotations

import importlib
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.server import RunsAlready, ServerProcess

__all__ = ["CREDENTIALS", "MinistackServer", "RunningDynamoDB", "create_client"]

CREDENTIALS: Final[Mapping[str, Any]] = {
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
    "region_name": "eu-west-1",
}


class MinistackServer(ServerProcess):
    """A MiniStack process, which keeps its tables in memory."""

    name = "ministack"

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def command_line(self) -> Sequence[str]:
        """Run the module with the Python of the tests."""
        return [sys.executable, "-m", "ministack"]

    def environment(self) -> Mapping[str, str]:
        """Listen on the loopback interface only, and serve only DynamoDB."""
        return {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "SERVICES": "dynamodb",
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(self.directory),
        }

    def answers(self) -> bool:
        """Whether its health check succeeds."""
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as exc:
            exc.close()
            return False
        except OSError:
            return False

    def call(self, operation: str, **arguments: Any) -> Any:
        """Call an operation of DynamoDB in its JSON form (bytes in base 64), to inspect or change what is stored."""
        request = urllib.request.Request(
            self.url,
            data=json.dumps(arguments).encode(),
            headers={
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": f"DynamoDB_20120810.{operation}",
                "X-Amz-Date": "20260101T000000Z",  # no test server checks it, but some require it
                "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/dynamodb/aws4_request, "
                "SignedHeaders=host, Signature=0",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            with exc:
                raise RuntimeError(exc.read().decode()) from exc


class RunningDynamoDB(RunsAlready, MinistackServer):
    """A server that runs already, such as DynamoDB Local."""


def create_client(url: str) -> Any:
    """A context manager that returns a client of the driver."""
    session: Any = importlib.import_module("aiobotocore.session").get_session()
    return session.create_client("dynamodb", endpoint_url=url, **CREDENTIALS)
