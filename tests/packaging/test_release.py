"""What a release must be: of one version everywhere, and the same bytes wherever it is built."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import aiohttp_cache_di
from tools.release import check, notes_of, refuse_order, version_of

ROOT = Path(__file__).parent.parent.parent
SOURCE = '"""Docs."""\n__version__ = "1.2.3"\n'
CHANGELOG = "# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-12-01\n\n- A line.\n\n## 1.2.2\n\n- An older one.\n"


def test_the_version_is_read_as_it_is_imported() -> None:
    source = (ROOT / "aiohttp_cache_di" / "__init__.py").read_text()
    assert version_of(source) == aiohttp_cache_di.__version__


def test_the_changelog_tells_of_this_version_and_of_each_what_breaks_first() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert notes_of(changelog, aiohttp_cache_di.__version__)
    for version in re.findall(r"^## (\S+)", changelog, re.MULTILINE):
        refuse_order(notes_of(changelog, version))


def test_the_notes_of_a_release_end_where_the_next_section_begins() -> None:
    assert check("v1.2.3", SOURCE, CHANGELOG) == "- A line."


@pytest.mark.parametrize(
    ("tag", "source", "changelog", "said"),
    [
        ("v1.2.4", SOURCE, CHANGELOG, "takes the tag 'v1.2.3'"),
        ("1.2.3", SOURCE, CHANGELOG, "takes the tag 'v1.2.3'"),
        ("v1.2.3", "x = 1\n", CHANGELOG, "no line __version__"),
        ("v1.2.3", SOURCE, "# Changelog\n\n## Unreleased\n", "needs a section '## 1.2.3'"),
        ("v1.2.3", SOURCE, "## 1.2.3\n\n## 1.2.2\n\n- x\n", "says nothing of 1.2.3"),
        ("v1.2.3", SOURCE, "## 1.2.3\n\n### Fixed\n\n- x\n\n### Breaking\n\n- y\n", "has the headings Fixed, Breaking"),
        ("v1.2.3", SOURCE, "## 1.2.3\n\n### Fixed\n\n- x\n\n### Fixed\n\n- y\n", "has the headings Fixed, Fixed"),
        ("v1.2.3", SOURCE, "## 1.2.3\n\n### News\n\n- x\n", "has the headings News; use Breaking, Changed, "),
        ("v1.2.3", SOURCE, "## 1.2.30\n\n- x\n", "says nothing of 1.2.3"),
    ],
)
def test_what_is_not_ready_is_no_release(tag: str, source: str, changelog: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check(tag, source, changelog)


def _workflow(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    return found


def test_nothing_is_published_whose_commit_has_not_passed_the_tests() -> None:
    jobs = _workflow("release.yml")["jobs"]
    publishing = [job for job in jobs.values() if any("pypi-publish" in str(step) for step in job.get("steps", ()))]
    (publish,) = publishing
    needed = [jobs[name] for name in publish["needs"]]
    assert "./.github/workflows/tests.yml" in [job.get("uses") for job in needed]
    assert "if" not in publish  # which could run though what it needs has failed
    assert not [job for job in needed if "if" in job or "continue-on-error" in job]


def test_what_is_published_is_what_the_tests_have_built_and_nothing_else_is_called_like_it() -> None:
    tests = _workflow("tests.yml")
    assert "workflow_call" in tests[True]  # YAML reads the word `on` as that
    called = [job["uses"] for job in tests["jobs"].values() if "uses" in job]
    assert called == ["./.github/workflows/distribution.yml"]
    release = _workflow("release.yml")["jobs"]
    assert "./.github/workflows/distribution.yml" not in [job.get("uses") for job in release.values()]


def _build(source: Path, target: Path, kind: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = target.iterdir()
    return path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_wheel_is_the_same_bytes_from_the_tree_and_from_the_sdist(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    unwanted = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "dist", "results")
    shutil.copytree(ROOT, tree, ignore=unwanted)
    for path in tree.rglob("*.py"):
        os.utime(path, (1, 1))  # as another checkout at another time has them
    sdist = _build(tree, tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    here, there = _build(ROOT, tmp_path / "here", "wheel"), _build(unpacked, tmp_path / "there", "wheel")
    assert here.name == there.name
    assert _digest(here) == _digest(there)


def test_the_sdist_brings_what_its_tests_need(tmp_path: Path) -> None:
    with tarfile.open(_build(ROOT, tmp_path, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "tests/conftest.py", "tools/lowest.py", "docs/stores.md", "examples/web_app.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".git/", ".demo"))]
