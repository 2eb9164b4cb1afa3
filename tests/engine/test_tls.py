"""Requests with TLS contexts of their own: what a verified connection brought is for all that trust as it does."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorCertificateError, TCPConnector

from aiohttp_cache_di._aiohttp import default_tls_context
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.keys import tls_token
from tests.clients import Client, Clients
from tests.origin import Origin, Received, answer


def make_certificate(folder: Path, name: str) -> Path:
    """Make a certificate that vouches for itself, and its key beside it."""
    made = folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / f"{name}.key"), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of authorities: one that knows the origin, one that knows others too, and one that does not."""
    folder = tmp_path_factory.mktemp("certificates")
    own, other = make_certificate(folder, "own"), make_certificate(folder, "other")
    both = folder / "both.pem"
    both.write_text(other.read_text() + own.read_text())
    return {"own": own, "other": other, "both": both}


@pytest.fixture
async def secure(bundles: dict[str, Path]) -> AsyncIterator[Origin]:
    """Run an origin that the bundles "own" and "both" know."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(bundles["own"], bundles["own"].with_suffix(".key"))
    async with Origin(tls=context) as origin:
        origin.on("/", numbered)
        yield origin


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


def trusting(bundle: Path, *, flawed: str = "") -> ssl.SSLContext:
    """Make a new context, with or without a flaw."""
    context = ssl.create_default_context(cafile=str(bundle))
    if flawed:
        context.check_hostname = False
    if flawed == "chain":
        context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("cache_control", [False, True])
async def test_a_context_for_each_request_is_a_hit(
    clients: Clients, secure: Origin, bundles: dict[str, Path], cache_control: bool
) -> None:
    client = clients(cache_control=cache_control)
    found = [await client.fetch(secure.url + "/", ssl=trusting(bundles["own"])) for _ in range(4)]
    assert found == [(False, "1"), (True, "1"), (True, "1"), (True, "1")]
    await client.backend.settle()
    assert await client.backend.responses.size() == 1
    assert await client.backend.has_url(secure.url + "/", ssl=trusting(bundles["own"]))


async def test_a_connector_that_trusts_the_same_shares_it(
    clients: Clients, secure: Origin, bundles: dict[str, Path]
) -> None:
    one = clients()
    other = clients(backend=one.backend, session={"connector": TCPConnector(ssl=trusting(bundles["own"]))})
    assert await one.fetch(secure.url + "/", ssl=trusting(bundles["own"])) == (False, "1")
    assert await other.fetch(secure.url + "/") == (True, "1")


async def refused(client: Client, url: str, **options: Any) -> bool:
    """Whether the origin's certificate is refused."""
    try:
        await client.fetch(url, **options)
    except ClientConnectorCertificateError:
        return True
    return False


async def test_what_some_trust_is_not_for_those_who_do_not(
    clients: Clients, secure: Origin, bundles: dict[str, Path]
) -> None:
    client = clients()
    for _ in range(2):
        assert (await client.fetch(secure.url + "/", ssl=trusting(bundles["own"])))[1] == "1"
        assert (await client.fetch(secure.url + "/", ssl=trusting(bundles["both"])))[1] == "2"
        assert await refused(client, secure.url + "/", ssl=trusting(bundles["other"]))
        assert await refused(client, secure.url + "/", ssl=ssl.create_default_context())
        assert await refused(client, secure.url + "/")


@pytest.mark.parametrize("flawed", ["host", "chain"])
async def test_what_a_context_does_not_verify_is_for_itself_alone(
    clients: Clients, secure: Origin, bundles: dict[str, Path], flawed: str
) -> None:
    client = clients()
    contexts = [trusting(bundles["own"], flawed=flawed) for _ in range(2)]
    found = [await client.fetch(secure.url + "/", ssl=context) for context in (*contexts, *contexts)]
    assert found == [(False, "1"), (False, "2"), (True, "1"), (True, "2")]
    assert await client.fetch(secure.url + "/", ssl=trusting(bundles["own"])) == (False, "3")


async def test_a_context_that_trusts_as_aiohttp_does_is_no_other() -> None:
    backend, url = CacheBackend(), "https://example.org/"
    assert isinstance(default_tls_context(), ssl.SSLContext), "aiohttp has renamed its context: it is told apart now"
    keys = {backend.create_key("GET", url, ssl=demand) for demand in (True, None, ssl.create_default_context())}
    assert keys == {backend.create_key("GET", url)}
    assert backend.create_key("GET", url, ssl=ssl.create_default_context(), server_hostname="a") not in keys


async def test_contexts_can_be_told_apart_one_by_one(
    clients: Clients, secure: Origin, bundles: dict[str, Path]
) -> None:
    client = clients(partition_tls="context")
    one, two = trusting(bundles["own"]), trusting(bundles["own"])
    other = clients(backend=client.backend, session={"connector": TCPConnector(ssl=two)})

    found = [await client.fetch(secure.url + "/", ssl=context) for context in (one, two, one, two)]

    assert found == [(False, "1"), (False, "2"), (True, "1"), (True, "2")]
    assert await other.fetch(secure.url + "/") == (True, "2")
    assert await client.backend.has_url(secure.url + "/", ssl=one)
    assert not await client.backend.has_url(secure.url + "/", ssl=trusting(bundles["own"]))


async def test_contexts_of_connectors_can_be_told_apart_too(
    clients: Clients, secure: Origin, bundles: dict[str, Path]
) -> None:
    one = clients(partition_tls="context", session={"connector": TCPConnector(ssl=trusting(bundles["own"]))})
    unverified = trusting(bundles["own"], flawed="chain")
    others = [
        clients(backend=one.backend, session={"connector": TCPConnector(ssl=context)})
        for context in (trusting(bundles["own"]), unverified)
    ]

    assert await one.fetch(secure.url + "/") == (False, "1")
    assert [await other.fetch(secure.url + "/") for other in others] == [(False, "2"), (False, "3")]
    assert await others[0].fetch(secure.url + "/", ssl=False) == (False, "4")


async def test_those_who_connect_as_different_clients_are_told_apart_by_name(
    clients: Clients, secure: Origin, bundles: dict[str, Path]
) -> None:
    client = clients(session={} if clients.way.plain else {"principal": "somebody"}, principal="tenant-1")
    assert await client.fetch(secure.url + "/", ssl=trusting(bundles["own"])) == (False, "1")
    other = clients(backend=client.backend)
    other.backend.principal = "tenant-2"
    assert await other.fetch(secure.url + "/", ssl=trusting(bundles["own"])) == (False, "2")


def test_the_order_of_a_bundle_makes_no_difference(bundles: dict[str, Path], tmp_path: Path) -> None:
    turned = tmp_path / "turned.pem"
    turned.write_text(bundles["own"].read_text() + bundles["other"].read_text())
    assert tls_token(trusting(turned), None) == tls_token(trusting(bundles["both"]), None)


def test_authorities_in_a_directory_pass_for_the_system_s(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(capath=str(tmp_path))
    assert tls_token(context, None) == tls_token(True, None) == ""
