"""The page about deployment is true, as far as this can be tested without containers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from aiohttp_cache_di.backends.memory import DEFAULT_MAX_BYTES as MEMORY_BYTES
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import DEFAULT_MAX_BYTES as FILE_BYTES
from aiohttp_cache_di.backends.sqlite import DEFAULT_NEAR_BYTES
from aiohttp_cache_di.backends.wrap.writing.backlog import MAX_PENDING_BYTES
from aiohttp_cache_di.settings.model import CacheSettings
from tests.posix import IS_ROOT
from tests.valkey import ValkeyServer

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs" / "deployment.md").read_text(encoding="utf-8")
TIMEOUT_S = 60
USER = "65532"  # a user id that no system has

PROGRAM = """
import asyncio, logging
logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")
from aiohttp import web
from aiohttp_cache_di import open_container

async def answer(request):
    return web.Response(text="text", headers={"Cache-Control": "max-age=60"})

async def main():
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    seen = []
    async with open_container() as session:
        for _ in range(2):
            async with session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/") as response:
                await response.read()
                seen.append(response.from_cache)
    await runner.cleanup()
    print(seen, session.cache.stats.health().status)

asyncio.run(main())
"""

AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
READ_ONLY = ("unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh")


def run(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run *command* with only *variables* in its environment."""
    given = [f"{name}={value}" for name, value in variables.items()]
    clean = ["env", "-i", *given, *command]
    return subprocess.run(clean, cwd="/", capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


def skip_unless_possible(*around: str) -> None:
    """Skip the test where the machine cannot run the Python of the tests inside *around*."""
    if not IS_ROOT:
        pytest.skip(f"{around[0]} needs root")
    tool = shutil.which(around[0])
    if tool is None:
        pytest.skip(f"there is no {around[0]}")
    code = f"import msgspec; open({str(PROJECT / 'aiohttp_cache_di' / '__init__.py')!r}).close()"
    tried = run([*around, sys.executable, "-B", "-c", code], {"PATH": os.environ["PATH"]})
    if tried.returncode:
        pytest.skip(f"{around[0]} cannot run this Python: {tried.stderr.strip()[-200:]}")


def ran(*around: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program inside *around*."""
    program = f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n{PROGRAM}"
    return run([*around, sys.executable, "-B", "-c", program], {"PATH": os.environ["PATH"], **variables})


def test_no_variable_of_the_environment_is_needed(tmp_path: Path) -> None:
    found = ran(AIOHTTP_CACHE_SQLITE__PATH=str(tmp_path))
    assert (found.returncode, found.stdout) == (0, "[False, True] ok\n"), found.stderr
    assert "WARNING" not in found.stderr
    assert "The cache 'aiohttp-cache' is closed: 2 requests, 50.0 % of them hits, 1 stored" in found.stderr


def test_a_user_without_a_name_and_a_home_gets_a_private_temporary_directory() -> None:
    skip_unless_possible(*AS_USER)
    with TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o1777)
        found = ran(*AS_USER, HOME="/nonexistent", TMPDIR=name)
        assert (found.returncode, found.stdout) == (0, "[False, True] ok\n"), found.stderr
        (kept,) = place.iterdir()
        assert (kept.name, kept.stat().st_mode & 0o777) == (f"aiohttp-cache-di-{USER}", 0o700)
        assert f"responses are kept in {kept}" in found.stderr


def test_on_a_read_only_root_responses_are_kept_in_memory() -> None:
    around = (*READ_ONLY, *AS_USER)
    skip_unless_possible(*around)
    found = ran(*around, HOME="/nonexistent", TMPDIR="/nonexistent")
    # It works, and warns that this is not the intended configuration.
    assert found.stdout in ("[False, True] degraded\n", "[False, True] ok\n"), found.stderr
    in_memory = "responses are kept in the memory of this process" in found.stderr
    assert (found.returncode, "degraded" in found.stdout) == (0, in_memory), found.stderr
    # In a temporary directory this only works where another file system, mounted below, is writable.
    assert "responses are kept in " in found.stderr


def test_secrets_come_from_a_directory_of_files(tmp_path: Path) -> None:
    (tmp_path / "AIOHTTP_CACHE_SECRET_KEY").write_text("a key of more than 16 characters\n")
    (tmp_path / "of-another-service").write_text("nothing of ours")
    variables = {"AIOHTTP_CACHE_SECRETS_DIR": str(tmp_path), "AIOHTTP_CACHE_BACKEND": "memory"}
    found = ran(**variables)
    assert (found.returncode, found.stdout) == (0, "[False, True] ok\n"), found.stderr


def test_the_init_container_fails_the_start_where_the_store_does_not_work(tmp_path: Path) -> None:
    assert 'command: ["aiohttp-cache", "check"]' in PAGE
    command = [sys.executable, "-m", "aiohttp_cache_di", "check"]  # the same, see `project.scripts`
    needed = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    works = run(command, {**needed, "AIOHTTP_CACHE_SQLITE__PATH": str(tmp_path)})
    assert works.returncode == 0, works.stderr
    redis = {"AIOHTTP_CACHE_BACKEND": "redis", "AIOHTTP_CACHE_REDIS__URL": "redis://127.0.0.1:1/0"}
    fails = run(command, {**needed, **redis})
    assert fails.returncode == 1
    assert "redis://127.0.0.1:1/0" in fails.stderr


async def test_a_service_with_a_redis_user_of_its_own_works_and_reaches_no_other(own_valkey: ValkeyServer) -> None:
    found = re.search(r"ACL SETUSER orders on >… (.*)", PAGE)
    assert found is not None
    own_valkey.command("ACL", "SETUSER", "orders", "on", ">secret-of-orders", *found[1].split())
    address = own_valkey.url.replace("//", "//orders:secret-of-orders@")
    orders, rates = RedisBackend("orders", address=address), RedisBackend("rates", address=address)
    try:
        assert (await orders.ping()).is_ok
        assert "NoPermission" in (await rates.ping()).reason
    finally:
        await orders.close()
        await rates.close()


def test_the_variables_that_the_page_names_are_settings() -> None:
    known = {name.upper() for name in CacheSettings.model_fields}
    for variable in re.findall(r"\bAIOHTTP_CACHE_([A-Z_]+)", PAGE):
        name, _, nested = variable.removesuffix("_FILE").partition("__")
        assert name in known, variable
        if nested:
            group = CacheSettings.model_fields[name.lower()].annotation
            assert nested.lower() in getattr(group, "model_fields", ()), variable


@pytest.mark.parametrize(
    ("row", "size"),
    [
        ("memory store", MEMORY_BYTES),
        ("copies in memory of what a SQLite file holds", DEFAULT_NEAR_BYTES),
        ("responses that wait to be written", MAX_PENDING_BYTES),
        ("a SQLite file, a directory of files", FILE_BYTES),
    ],
)
def test_the_sizes_of_the_page_are_those_of_the_code(row: str, size: int) -> None:
    (told,) = re.findall(rf"^\| {row} \| (\d+) (MiB|GiB)", PAGE, re.M)
    assert int(told[0]) * {"MiB": 2**20, "GiB": 2**30}[told[1]] == size


ELSEWHERE = """
import mmap, os, sys
import aiohttp, asyncio, sqlite3, subprocess, sysconfig, tempfile
for name in "geteuid getuid fchmod fchown statvfs O_NOFOLLOW O_DIRECTORY register_at_fork fork".split():
    delattr(os, name)
for name in ("PROT_READ", "PROT_WRITE", "MAP_SHARED"):
    delattr(mmap, name)
sys.modules["fcntl"] = None
from aiohttp_cache_di import CacheBackend, SQLiteBackend

async def main():
    for backend in (CacheBackend(), SQLiteBackend(sys.argv[1])):
        await backend.ping()
        print(backend.stats.health().status)
        await backend.close()

asyncio.run(main())
"""


def test_without_what_only_posix_has_the_package_and_a_file_work(tmp_path: Path) -> None:
    command = [sys.executable, "-B", "-c", ELSEWHERE, str(tmp_path / "c.sqlite")]
    found = run(command, {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)})
    assert (found.returncode, found.stdout.split()) == (0, ["ok", "ok"]), found.stderr
