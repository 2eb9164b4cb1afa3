"""An editor, as far as it asks a language server about a program: what completes a call, and what a name shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Editor"]

PATIENCE_S = 90.0  # for all that is asked, which takes seconds


class Editor:
    """Has *path*, a program, open in pyright's language server.

    Args:
        path: of the program, whose directory is the project.
        root: where the package is that it imports.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self._path, self._root = path, root
        self._last_id = 0

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "pyright.langserver", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what is started here starts the server itself, and both are to end
        )
        self._timer = threading.Timer(PATIENCE_S, self._kill)
        self._timer.start()
        folder = self._path.parent.as_uri()
        capabilities = {
            "textDocument": {"hover": {"contentFormat": ["markdown"]}},
            "workspace": {"configuration": True, "workspaceFolders": True},
        }
        folders = [{"uri": folder, "name": "project"}]
        self._ask("initialize", rootUri=folder, workspaceFolders=folders, capabilities=capabilities, processId=None)
        self._tell("initialized")
        document = {"uri": self._path.as_uri(), "languageId": "python", "version": 1, "text": self._path.read_text()}
        self._tell("textDocument/didOpen", textDocument=document)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._kill()
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            assert pipe is not None
            pipe.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)

    def arguments_at(self, line: int, column: int) -> set[str]:
        """The names of the arguments that complete a call here."""
        found = self._ask("textDocument/completion", **self._place(line, column))
        return {item["label"][:-1] for item in found["items"] if item["label"].endswith("=")}

    def shown_at(self, line: int, column: int) -> str:
        """What a name here shows."""
        found = self._ask("textDocument/hover", **self._place(line, column))
        return "" if found is None else found["contents"]["value"]

    def _place(self, line: int, column: int) -> dict[str, Any]:
        return {"textDocument": {"uri": self._path.as_uri()}, "position": {"line": line, "character": column}}

    def _ask(self, method: str, **params: Any) -> Any:
        self._last_id += 1
        self._send(id=self._last_id, method=method, params=params)
        while True:
            message = self._receive()
            if "method" not in message and message.get("id") == self._last_id:
                return message["result"]
            if "method" in message and "id" in message:
                self._send(id=message["id"], result=self._configuration(message))

    def _configuration(self, message: Any) -> Any:
        """What the server is told of the project when it asks; None for all else that it asks."""
        if message["method"] != "workspace/configuration":
            return None
        paths = [str(self._root), str(self._root / "integrations")]
        told = {
            "python": {"pythonPath": sys.executable, "analysis": {"extraPaths": paths}},
            "python.analysis": {"extraPaths": paths, "diagnosticMode": "openFilesOnly"},
        }
        return [told.get(item.get("section"), {}) for item in message["params"]["items"]]

    def _tell(self, method: str, **params: Any) -> None:
        self._send(method=method, params=params)

    def _send(self, **message: Any) -> None:
        content = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._server.stdin is not None
        self._server.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        self._server.stdin.flush()

    def _receive(self) -> Any:
        assert self._server.stdout is not None
        length = 0
        while line := self._server.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if not length:
            raise EOFError("the language server has ended, or took too long")
        return json.loads(self._server.stdout.read(length))
