"""The hooks for tests marked ``recorded``: the recording is active from before their fixtures until after them."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing import Cassette, UnrecordedRequestError, recorded
from aiohttp_cache_di.testing.recording import Mode
from aiohttp_cache_di.testing.recording.comparing.matching import Key
from aiohttp_cache_di.testing.recording.options import rules_of
from aiohttp_cache_di_pytest import MODES, NAMES, UNASKED

__all__ = ["CASSETTE", "RecordedTests"]

CASSETTE = pytest.StashKey[Cassette]()
_FAILED = pytest.StashKey[bool]()
_UNASKED = pytest.StashKey[bool]()
_NOT_IN_NAMES = re.compile(r"[^\w.=+@,()\[\] -]+")
_LONGEST = 150  # characters of a file name; file systems allow 255 bytes
_READ = (".yml", ".json", ".har", ".zip")
_GOES_ON: Mapping[Mode, Mode] = {"once": "new_episodes", "rewrite": "all"}
"""The modes for tests that share a file which an earlier test of the run has begun, so that they add to it."""


class RecordedTests:
    """The hooks, registered if any test is marked."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._begun: dict[Path, Counter[Key]] = {}  # files that are made anew, and what has been recorded in them

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Open the recording."""
        if item.get_closest_marker("recorded") is not None:
            try:
                cassette = self._cassette(item)
                cassette.open()
            except (ConfigurationError, TypeError, pytest.UsageError) as error:
                raise pytest.fail.Exception(str(error), pytrace=False) from None
            if cassette.begins_anew:  # even if the test fails, which leaves its old recordings to be used
                self._begun.setdefault(cassette.path, cassette.of_this_run)
            item.stash[CASSETTE], item.stash[_FAILED] = cassette, True  # counts as failed until it has passed

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Fail the test if a request was not recorded, even if the app handled that error."""
        result = yield
        cassette = item.stash.get(CASSETTE, None)
        if cassette is not None:
            if cassette.misses:
                raise UnrecordedRequestError("\n".join(cassette.misses))
            item.stash[_FAILED] = False
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Write new recordings after the fixtures have ended, if the test has passed."""
        cassette, failed = item.stash.get(CASSETTE, None), item.stash.get(_FAILED, True)
        is_over = False
        try:
            result = yield
            is_over = True
        finally:
            if cassette is not None:
                del item.stash[CASSETTE]
                cassette.close(is_kept=is_over and not failed)
                item.stash[_UNASKED] = cassette.is_without_requests and is_over and not failed
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note in the last report of a test that it sent no request: workers of xdist pass reports on."""
        report = yield
        if call.when == "teardown" and item.stash.get(_UNASKED, False):
            setattr(report, UNASKED, True)
        return report

    def _cassette(self, item: pytest.Item) -> Cassette:
        options: dict[str, Any] = {name: self._config.getini(f"recorded_{name}") for name in NAMES}
        path: Any = None
        mode: Any = None
        for mark in reversed(list(item.iter_markers("recorded"))):  # the closest mark comes last, and has precedence
            given = dict(mark.kwargs)
            if len(mark.args) > 1 or (mark.args and "path" in given):
                raise pytest.UsageError("pytest.mark.recorded takes one path")
            path = given.pop("path", mark.args[0] if mark.args else path)
            mode = given.pop("mode", mode)
            if mode is not None and mode not in MODES:
                raise pytest.UsageError(f"recorded: mode={mode!r}: use one of {', '.join(MODES)}")
            rules_of(given)  # checks the options of each mark before they are merged
            for name in (*NAMES, "filter"):
                if name in given:
                    more = [given[name]] if callable(given[name]) else given[name]
                    given[name] = [*options.get(name, ()), *more]
            options |= given
        file = self._path(item, path)
        asked: Mode = self._config.getoption("--record-mode", None) or mode or "none"
        if file not in self._begun:
            return recorded(file, asked, **options)
        cassette = recorded(file, _GOES_ON.get(asked, asked), **options)
        cassette.of_this_run = self._begun[file]
        return cassette

    def _path(self, item: pytest.Item, named: Any) -> Path:
        if not isinstance(named, str | Path | None):
            raise pytest.UsageError(f"recorded: {named!r} is not the path of a file")
        if named is not None:
            return Path(os.path.abspath(item.path.parent / named))  # one path for all tests that share the file
        folder = item.path.parent / cast("str", self._config.getini("recorded_dir")) / item.path.stem
        outer = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
        name = _NOT_IN_NAMES.sub("-", ".".join([*outer, item.name]))
        if len(name) > _LONGEST:
            name = f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        own = folder / f"{name}.yaml"
        others = (folder / f"{name}{ending}" for ending in _READ)
        return own if own.exists() else next((path for path in others if path.exists()), own)
