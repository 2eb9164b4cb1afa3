"""What users install: the wheel, in an environment that has nothing but what the wheel asks for."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import aiohttp_cache_di
from aiohttp_cache_di.admin.page import PARTS

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parent.parent.parent
PACKAGES = (
    "aiohttp_cache_di",
    "aiohttp_cache_di_command",
    "aiohttp_cache_di_fastapi",
    "aiohttp_cache_di_pyinstaller",
    "aiohttp_cache_di_pytest",
    "aiohttp_cache_di_web",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the build backend of this environment; nothing is downloaded."""
    directory = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = directory.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel without extras into a new environment and return its interpreter."""
    directory = tmp_path_factory.mktemp("clean")
    venv.create(directory)
    python = directory / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]  # the one that there is: to install one takes longer
    command = [*pip, "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return python


def _run(python: Path, code: str) -> str:
    """Run *code* with warnings as errors, away from the project's own folder."""
    command = [str(python), "-W", "error", "-I", "-c", code]
    ran = subprocess.run(command, cwd=python.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_wheel_holds_its_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert "aiohttp_cache_di_pyinstaller/hook-aiohttp_cache_di.py" in names
    page = [*(f"page.{kind}" for kind in ("html", "css")), *(f"script/{part}.js" for part in PARTS)]
    assert {f"aiohttp_cache_di/admin/assets/{part}" for part in page} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_carries_version_licence_and_readme(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    fields = message_from_bytes(archive.read(metadata))
    assert fields["Version"] == aiohttp_cache_di.__version__
    assert fields["License-Expression"] == "MIT"
    assert fields["Requires-Python"] == ">=3.11"
    assert {"all", "fastapi", "redis"} <= set(fields.get_all("Provides-Extra", []))
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_importing_raises_no_warning_and_loads_nothing_optional(clean_python: Path) -> None:
    optional = ("redis", "fastapi", "starlette", "dependency_injector", "pydantic_settings")
    code = f"import sys, aiohttp_cache_di; print([name for name in {optional!r} if name in sys.modules])"
    assert _run(clean_python, code).strip() == "[]"


def test_every_public_name_that_needs_no_extra_is_there(clean_python: Path) -> None:
    code = """
import aiohttp_cache_di, aiohttp_cache_di_web
for module in (aiohttp_cache_di, aiohttp_cache_di_web):
    for name in module.__all__:
        if not name.startswith("Redis"):
            getattr(module, name)
print("complete")
"""
    assert _run(clean_python, code).strip() == "complete"


def test_a_missing_driver_is_named_with_its_extra(clean_python: Path) -> None:
    code = """
import aiohttp_cache_di
try:
    aiohttp_cache_di.RedisBackend()
except aiohttp_cache_di.MissingDependencyError as error:
    print(error)
"""
    assert "aiohttp-cache-di[redis]" in _run(clean_python, code)


def test_the_installed_package_caches(clean_python: Path) -> None:
    code = """
import asyncio
from aiohttp import web
from aiohttp_cache_di import CachedSession, CacheBackend

async def main():
    async def hello(request):
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    seen = []
    async with CachedSession(cache=CacheBackend(expire_after=60)) as session:
        for _ in range(2):
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                assert await response.text() == "hello"
                seen.append(response.from_cache)
    await runner.cleanup()
    print(seen)

asyncio.run(main())
"""
    assert _run(clean_python, code).strip() == "[False, True]"


def test_the_command_shows_the_effective_settings(clean_python: Path) -> None:
    ran = subprocess.run(
        [str(clean_python), "-W", "error", "-I", "-m", "aiohttp_cache_di", "settings"],
        cwd=clean_python.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "AIOHTTP_CACHE_BACKEND" in ran.stdout
