"""Requests with their own TLS contexts share a response only if their contexts verify the server in the same way."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorCertificateError, TCPConnector, web

from aiohttp_cache_di._aiohttp import default_tls_context
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.keys import client_certificate, tls_token
from tests.clients import Client, Clients
from tests.origin import Origin, Received, answer


def make_certificate(folder: Path, name: str, *kind: str) -> Path:
    """Make a self-signed certificate, and its key next to it."""
    made = folder / f"{name}.pem"
    kind = kind or ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    command = ["openssl", "req", "-x509", "-newkey", *kind, "-nodes"]
    command += ["-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / f"{name}.key"), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """CA bundles: with the origin's certificate, with another one too, without it; and certificates of clients."""
    folder = tmp_path_factory.mktemp("certificates")
    own, other = make_certificate(folder, "own"), make_certificate(folder, "other")
    both = folder / "both.pem"
    both.write_text(other.read_text() + own.read_text())
    users = {name: make_certificate(folder, name) for name in ("alice", "bob")}
    users |= {"rsa": make_certificate(folder, "rsa", "rsa:2048")}
    users |= {"ed25519": make_certificate(folder, "ed25519", "ed25519")}
    known = folder / "clients.pem"
    known.write_text("".join(user.read_text() for user in users.values()))
    return {"own": own, "other": other, "both": both, "clients": known, **users}


@pytest.fixture
async def secure(bundles: dict[str, Path]) -> AsyncIterator[Origin]:
    """Run an origin whose certificate is in the bundles "own" and "both"."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(bundles["own"], bundles["own"].with_suffix(".key"))
    async with Origin(tls=context) as origin:
        origin.on("/", numbered)
        yield origin


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


def trusting(bundle: Path, *, flawed: str = "") -> ssl.SSLContext:
    """Make a new context; a *flawed* one skips the host name, "chain" the whole verification."""
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


@pytest.fixture
async def asking(bundles: dict[str, Path]) -> AsyncIterator[str]:
    """Run an origin that requires client certificates, and answers with their names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(bundles["clients"]))
    context.load_cert_chain(bundles["own"], bundles["own"].with_suffix(".key"))
    context.verify_mode = ssl.CERT_OPTIONAL

    async def who(request: web.Request) -> web.Response:
        certificate: Any = request.get_extra_info("peercert") or {"subject": [[("commonName", "no one")]]}
        return web.Response(text=certificate["subject"][0][0][1], headers={"Cache-Control": "max-age=60"})

    app = web.Application()
    app.router.add_route("*", "/", who)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    yield f"https://127.0.0.1:{port}/"
    await runner.cleanup()


def presenting(bundles: dict[str, Path], client: str, *, flawed: str = "") -> ssl.SSLContext:
    """Make a new context that presents a certificate, "" for none."""
    context = trusting(bundles["own"], flawed=flawed)
    if client:
        context.load_cert_chain(bundles[client], bundles[client].with_suffix(".key"))
    return context


@pytest.mark.parametrize("cache_control", [False, True])
async def test_who_connects_as_another_client_gets_nothing_of_the_first(
    clients: Clients, asking: str, bundles: dict[str, Path], cache_control: bool
) -> None:
    client = clients(cache_control=cache_control)
    for hit in (False, True):
        for name in ("alice", "", "bob", "rsa"):
            shown = presenting(bundles, name)
            assert await client.fetch(asking, ssl=shown) == (hit, name or "no one")
    assert await client.backend.has_url(asking, ssl=presenting(bundles, "alice"))
    async with client.session.put(asking, ssl=presenting(bundles, "alice")) as response:
        assert response.status == 200
    left = [await client.backend.has_url(asking, ssl=presenting(bundles, name)) for name in ("alice", "", "bob")]
    assert left == ([False, False, True] if cache_control else [True] * 3)


@pytest.mark.parametrize("flawed", ["", "chain"])
async def test_sessions_that_connect_as_different_clients_share_nothing(
    clients: Clients, asking: str, bundles: dict[str, Path], flawed: str
) -> None:
    first = clients(session={"connector": TCPConnector(ssl=presenting(bundles, "", flawed=flawed))})
    assert await first.fetch(asking) == (False, "no one")
    for name in ("alice", "bob"):
        connector = TCPConnector(ssl=presenting(bundles, name, flawed=flawed))
        other = clients(backend=first.backend, session={"connector": connector})
        assert [await other.fetch(asking) for _ in range(3)] == [(False, name), (True, name), (True, name)]
    assert await first.fetch(asking) == (True, "no one")


@pytest.mark.parametrize("option", [{"principal": "tenant-1"}, {"shared_credentials": ["127.0.0.1"]}])
async def test_who_is_named_may_present_any_certificate(
    clients: Clients, asking: str, bundles: dict[str, Path], option: dict[str, Any]
) -> None:
    client = clients(**option)
    assert await client.fetch(asking, ssl=presenting(bundles, "alice")) == (False, "alice")
    assert await client.fetch(asking, ssl=presenting(bundles, "bob")) == (True, "alice")
    if "principal" in option:
        client.backend.principal = "tenant-2"
        assert await client.fetch(asking, ssl=presenting(bundles, "bob")) == (False, "bob")


@pytest.mark.parametrize("restricted", ["", "1.2", "1.3", "ciphers"])
@pytest.mark.parametrize("name", ["alice", "rsa", "ed25519", ""])
def test_a_certificate_is_seen_whatever_else_a_context_says(
    bundles: dict[str, Path], name: str, restricted: str
) -> None:
    context = presenting(bundles, name)
    if restricted == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    elif restricted == "1.3":
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    elif restricted:
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256" if name == "rsa" else "ECDHE-RSA-AES128-GCM-SHA256")
    found = client_certificate(context)

    assert found == client_certificate(presenting(bundles, name))
    assert bool(found) == bool(name)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_a_context_that_keeps_its_certificate_elsewhere_is_for_itself_alone(
    clients: Clients, asking: str, bundles: dict[str, Path]
) -> None:
    class Elsewhere(ssl.SSLContext):
        def load_cert_chain(self, *args: Any, **kwargs: Any) -> None:
            """Load nothing."""

    contexts = [Elsewhere(ssl.PROTOCOL_TLS_CLIENT) for _ in range(2)]
    for context in contexts:
        context.load_verify_locations(str(bundles["own"]))
    client = clients()
    found = [await client.fetch(asking, ssl=context) for context in (*contexts, *contexts)]
    assert [hit for hit, _ in found] == [False, False, True, True]


def test_the_order_of_a_bundle_makes_no_difference(bundles: dict[str, Path], tmp_path: Path) -> None:
    turned = tmp_path / "turned.pem"
    turned.write_text(bundles["own"].read_text() + bundles["other"].read_text())
    assert tls_token(trusting(turned), None) == tls_token(trusting(bundles["both"]), None)


def test_authorities_in_a_directory_pass_for_the_system_s(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(capath=str(tmp_path))
    assert tls_token(context, None) == tls_token(True, None) == ""


@pytest.mark.parametrize("curve", ["brainpoolP256r1", "secp256k1"])
def test_a_certificate_of_an_unusual_curve_is_not_taken_for_none(tmp_path: Path, curve: str) -> None:
    made = make_certificate(tmp_path, "odd", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}")
    context = ssl.create_default_context()
    context.load_cert_chain(made, made.with_suffix(".key"))
    assert client_certificate(context) != ""


def test_a_context_that_logs_its_secrets_is_not_tried(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    context.keylog_filename = str(tmp_path / "keys")
    before = (tmp_path / "keys").read_bytes()
    assert client_certificate(context) is None
    assert (tmp_path / "keys").read_bytes() == before
