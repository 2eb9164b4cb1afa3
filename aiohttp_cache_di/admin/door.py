"""Who is let in: local clients where that is the bound, no other site's pages, and changes by a token only.

Browsers carry their user's credentials to whatever address a page of any site names, and a name of that site may lead
to 127.0.0.1 (DNS rebinding). So credentials, and a local address, are not enough:

- *Local*: the connection is from a loopback address, no header says that it was handed on, and the Host is a name of
  this machine. A Unix socket is what a proxy in front of a service comes by, and is not local.
- *Same site*: what a browser says of where a request comes from (Sec-Fetch-Site, Origin) is this page, or nothing.
- *Token*: a change has to repeat, in a header field that no form and no other origin can send, what a cookie holds
  that no script can read. Nothing is kept of it, so that any worker can check what another has given.
"""

from __future__ import annotations

import ipaddress
import secrets
from hmac import compare_digest
from typing import Final
from urllib.parse import urlsplit

from aiohttp_cache_di.admin.messages import AdminError, Ask

__all__ = ["COOKIE", "TOKEN_HEADER", "Door"]

COOKIE: Final = "aiohttp_cache_admin"
"""The cookie that a change has to repeat the value of."""

TOKEN_HEADER: Final = "X-Cache-Admin-Token"  # noqa: S105  # its name
"""The header field that it is repeated in."""

TOKEN_BYTES: Final = 32
_TOKEN_CHARS: Final = 43  # of 32 bytes in base64
# What a proxy adds of whom it stands before. Who sends one of these to a server that is its own neighbour is none.
HANDED_ON: Final = frozenset(
    (
        *("forwarded", "via", "x-original-forwarded-for", "x-original-host", "x-original-url", "x-real-ip"),
        *("x-client-ip", "x-cluster-client-ip", "x-proxyuser-ip", "x-envoy-external-address", "x-envoy-original-path"),
        *("true-client-ip", "cf-connecting-ip", "cf-connecting-ipv6", "cf-ray", "fastly-client-ip", "fly-client-ip"),
        *("x-appengine-user-ip", "x-azure-clientip", "x-amzn-trace-id", "x-cloud-trace-context"),
    )
)
_HANDED_ON: Final = "x-forwarded"  # with which more of them begin


class Door:
    """Lets requests in, or raises `AdminError`.

    Args:
        is_local: only clients on this machine are let in.
    """

    def __init__(self, *, is_local: bool) -> None:
        self.is_local = is_local

    def admit(self, ask: Ask, *, is_page: bool) -> None:
        """Let a request in that changes nothing.

        Args:
            is_page: it is for the page itself, which may be opened by a link from elsewhere.
        """
        if self.is_local:
            _expect_local(ask)
        site = ask.value("sec-fetch-site")
        if site in ("", "none", "same-origin"):
            if not is_page:  # of an old browser, or by plain HTTP, which tells no site
                _expect_own_origin(ask)
            return
        if is_page and ask.value("sec-fetch-mode") == "navigate" and ask.value("sec-fetch-dest") == "document":
            return
        raise AdminError(403, "cross-site", f"the request is from a page of another site (Sec-Fetch-Site: {site})")

    def admit_change(self, ask: Ask) -> None:
        """Let a request in that has passed `admit` and has a body: it is from the page, and knows the token."""
        _expect_own_origin(ask)
        if ask.value("content-type").partition(";")[0].strip().lower() != "application/json":
            raise AdminError(415, "content-type", "the body has to be JSON: Content-Type: application/json")
        kept, said = ask.cookies.get(COOKIE, ""), ask.value(TOKEN_HEADER.lower())
        if not is_token(kept) or not compare_digest(kept.encode(), said.encode("utf-8", "replace")):
            raise AdminError(
                403,
                "token",
                f"{TOKEN_HEADER} does not repeat the cookie {COOKIE!r}; GET api/caches gives both",
            )

    def token_of(self, ask: Ask) -> tuple[str, dict[str, str]]:
        """The token of a browser, and the header fields that give it one."""
        token = ask.cookies.get(COOKIE, "")
        if not is_token(token):
            token = secrets.token_urlsafe(TOKEN_BYTES)
        # Without a Path it is sent to the folder that the API is in, as the browser sees it: before any proxy.
        cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict{'; Secure' if ask.is_https else ''}"
        return token, {"Set-Cookie": cookie}


def is_token(text: str) -> bool:
    """Whether *text* may be a token of ours."""
    return len(text) == _TOKEN_CHARS and text.isascii() and text.replace("-", "a").replace("_", "a").isalnum()


def _expect_local(ask: Ask) -> None:
    handed_on = [name for name, _ in ask.headers if name in HANDED_ON or name.startswith(_HANDED_ON)]
    if handed_on:
        raise AdminError(403, "not-local", f"a proxy has handed the request on ({handed_on[0]}); {_WAY_OUT}")
    if ask.version == "1.0":  # which nginx speaks to what it stands before, and adds nothing, unless it is told to
        raise AdminError(403, "not-local", f"HTTP/1.0 is not what a browser speaks; {_WAY_OUT}")
    if not ask.peers or not all(peer is not None and _is_loopback(peer) for peer in ask.peers):
        raise AdminError(403, "not-local", f"only clients on this machine are let in; {_WAY_OUT}")
    hosts = ask.values("host")
    if len(hosts) != 1 or not _names_this_machine(hosts[0]):
        raise AdminError(403, "foreign-host", "the Host of the request has to be localhost or a loopback address")


_WAY_OUT: Final = "give authorize= to let others in"


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if host.strip() != host or any(char in host for char in "/@?#\\ "):
        return False
    return name == "localhost" or _is_loopback(name)


def _expect_own_origin(ask: Ask) -> None:
    if ask.value("sec-fetch-site") == "same-origin":
        return  # the browser has compared, and knows what a proxy has made of the Host
    origin = ask.value("origin")
    if origin and urlsplit(origin).netloc.lower() != ask.value("host").lower():
        raise AdminError(403, "cross-site", f"the request is from a page of another origin ({origin[:200]})")
