"""A real browser for tests: Debian's Chromium without a window, driven by its DevTools protocol.

Every wait is bounded, and the process is ended however a test ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import websockets
from websockets.asyncio.client import ClientConnection

__all__ = ["MISSING", "Browser", "NoBrowserError", "Tab", "browser_at", "found", "running_browser"]

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING: Final = "there is no Chromium here: apt-get install chromium"
WITHIN_S: Final = 30.0
FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    "--remote-debugging-port=0",
)
KEYS: Final = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    "Space": 32,
    "PageUp": 33,
    "PageDown": 34,
    "End": 35,
    "Home": 36,
    "ArrowUp": 38,
    "ArrowDown": 40,
}


def found() -> str | None:
    """The program, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.complaints: list[str] = []
        """What the console was told as an error: exceptions, what a policy has refused, requests that failed."""

    async def send(self, method: str, **arguments: Any) -> Any:
        """A command of the protocol."""
        return await self._browser.send(method, arguments, self._session)

    async def open(self, url: str) -> None:
        """Go to *url*."""
        await self.send("Page.navigate", url=url)

    async def js(self, expression: str) -> Any:
        """The value of *expression*, which is waited for if it is a promise."""
        told = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"].get("exception", {}).get("description", told))
        return told["result"].get("value")

    async def until(self, expression: str, within_s: float = WITHIN_S) -> Any:
        """Wait until *expression* is true, and give its value."""
        end = time.monotonic() + within_s
        asked = (
            f"(() => {{ try {{ const v = {expression}; return v instanceof Node || v; }} catch {{ return null; }} }})()"
        )
        while not (value := await self.js(asked)):
            if time.monotonic() > end:
                text = await self.js("document.body.innerText")
                raise AssertionError(f"not within {within_s:g} s: {expression}\n{self.complaints}\n{text[:2000]}")
            await asyncio.sleep(0.03)
        return value

    async def text(self, selector: str) -> str:
        """What *selector* shows."""
        shown: str = await self.js(f"document.querySelector({json.dumps(selector)}).innerText")
        return shown

    async def click(self, selector: str) -> None:
        """Click in the middle of what *selector* names, as a mouse does."""
        place = await self.until(
            f"(() => {{ const at = document.querySelector({json.dumps(selector)});"
            " at.scrollIntoView({block: 'nearest'}); const b = at.getBoundingClientRect();"
            " return b.width && {x: b.x + b.width / 2, y: b.y + b.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    async def press(self, key: str, times: int = 1, *, shift: bool = False) -> None:
        """Press a key."""
        known = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"Enter": {"text": "\r"}, "Space": {"text": " "}}.get(key, {})
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                more = text if kind == "keyDown" else {}
                await self.send("Input.dispatchKeyEvent", type=kind, modifiers=8 if shift else 0, **known, **more)

    async def type(self, text: str) -> None:
        """Type *text* where the focus is."""
        await self.send("Input.insertText", text=text)

    async def look(self, *, width: int = 1360, height: int = 860, scheme: str = "light", reduced: bool = False) -> None:
        """Have a window of that size, and a user who prefers that colour scheme."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        features.append({"name": "prefers-reduced-motion", "value": "reduce" if reduced else "no-preference"})
        await self.send("Emulation.setEmulatedMedia", features=features)


class Browser:
    """A browser that runs."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tabs: dict[str, Tab] = {}

    async def send(self, method: str, arguments: dict[str, Any], session: str | None = None) -> Any:
        """A command of the protocol, and its answer."""
        self._last += 1
        number = self._last
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": arguments}
        await self._connection.send(json.dumps(message | ({"sessionId": session} if session else {})))
        async with asyncio.timeout(WITHIN_S):
            return await answer

    async def listen(self) -> None:
        """Take what comes, until the connection ends."""
        with suppress(websockets.ConnectionClosed):
            async for message in self._connection:
                told = json.loads(message)
                answer = self._waiting.pop(told.get("id", 0), None)
                if answer is None:
                    self._event(told)
                elif answer.done():
                    pass
                elif "error" in told:
                    answer.set_exception(AssertionError(told["error"]))
                else:
                    answer.set_result(told["result"])

    @asynccontextmanager
    async def tab(self) -> AsyncGenerator[Tab]:
        """Open a page in a profile of its own, and close it in the end."""
        context = (await self.send("Target.createBrowserContext", {}))["browserContextId"]
        target = (await self.send("Target.createTarget", {"url": "about:blank", "browserContextId": context}))[
            "targetId"
        ]
        attached = await self.send("Target.attachToTarget", {"targetId": target, "flatten": True})
        tab = self._tabs[attached["sessionId"]] = Tab(self, attached["sessionId"], target)
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.send(f"{domain}.enable")
            await tab.look()
            yield tab
        finally:
            await self.send("Target.disposeBrowserContext", {"browserContextId": context})
            del self._tabs[attached["sessionId"]]

    def _event(self, told: dict[str, Any]) -> None:
        tab, given = self._tabs.get(told.get("sessionId", "")), told.get("params", {})
        if tab is None:
            return
        if told["method"] == "Runtime.exceptionThrown":
            tab.complaints.append(given["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif told["method"] == "Log.entryAdded" and given["entry"]["level"] == "error":
            tab.complaints.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
        elif told["method"] == "Runtime.consoleAPICalled" and given["type"] == "error":
            tab.complaints.append(str(given["args"]))


@contextmanager
def running_browser(directory: Path) -> Generator[str]:
    """Run the browser with a profile in *directory*, and give the address of its protocol.

    Raises:
        NoBrowserError: it does not start.
    """
    program = found()
    assert program is not None, MISSING
    log = directory / "log"
    command = [program, *FLAGS, f"--user-data-dir={directory / 'profile'}", "about:blank"]
    environment = {**os.environ, "HOME": str(directory)}
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stderr, stderr=stderr, start_new_session=True, env=environment)
    try:
        yield _address(log, process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(WITHIN_S)


class NoBrowserError(Exception):
    """The browser does not start here."""


@asynccontextmanager
async def browser_at(address: str) -> AsyncGenerator[Browser]:
    """The browser that runs at *address*, for the running loop."""
    async with websockets.connect(address, max_size=None, open_timeout=WITHIN_S, proxy=None) as connection:
        browser = Browser(connection)
        listening = asyncio.create_task(browser.listen())
        try:
            yield browser
        finally:
            listening.cancel()
            await asyncio.wait([listening])


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        text = log.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            if line.startswith("DevTools listening on "):
                return line.removeprefix("DevTools listening on ").strip()
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise NoBrowserError(log.read_text(encoding="utf-8", errors="replace")[-1000:])
