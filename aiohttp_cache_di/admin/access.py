"""Access control of the admin page: local clients only (by default), no cross-site requests, changes need a token.

Any web page can make a browser send requests, with its user's credentials, to any address; and a host name of that
site may resolve to 127.0.0.1 (DNS rebinding). So neither credentials nor a local address are enough:

- *Local*: the client's address is a loopback address, no header field shows that a proxy forwarded the request, and
  Host names this machine. A connection by a Unix socket is not local: reverse proxies use them.
- *Same site*: Sec-Fetch-Site and Origin, where the browser sends them, name this page.
- *Token*: a change has to repeat the value of a cookie, which scripts cannot read, in a header field, which neither
  forms nor other origins can send. The server keeps no record of tokens, so any worker can check any token.
"""

from __future__ import annotations

import ipaddress
import secrets
from hmac import compare_digest
from typing import Final
from urllib.parse import urlsplit

from aiohttp_cache_di.admin.messages import AdminError, AdminRequest

__all__ = ["COOKIE", "TOKEN_HEADER", "AccessControl"]

COOKIE: Final = "aiohttp_cache_admin"
"""The cookie whose value a change has to repeat."""

TOKEN_HEADER: Final = "X-Cache-Admin-Token"  # noqa: S105  # its name
"""The header field that repeats it."""

TOKEN_BYTES: Final = 32
_TOKEN_CHARS: Final = 43  # of 32 bytes in base64
# Header fields that reverse proxies add. A client that sends one of them is not on this machine.
PROXY_HEADERS: Final = frozenset(
    (
        *("forwarded", "via", "x-original-forwarded-for", "x-original-host", "x-original-url", "x-real-ip"),
        *("x-client-ip", "x-cluster-client-ip", "x-proxyuser-ip", "x-envoy-external-address", "x-envoy-original-path"),
        *("true-client-ip", "cf-connecting-ip", "cf-connecting-ipv6", "cf-ray", "fastly-client-ip", "fly-client-ip"),
        *("x-appengine-user-ip", "x-azure-clientip", "x-amzn-trace-id", "x-cloud-trace-context"),
    )
)
_PROXY_PREFIX: Final = "x-forwarded"  # the beginning of further ones


class AccessControl:
    """Admits requests, or raises `AdminError`.

    Args:
        is_local: admit only clients on this machine.
    """

    def __init__(self, *, is_local: bool) -> None:
        self.is_local = is_local

    def admit(self, request: AdminRequest, *, is_page: bool) -> None:
        """Admit a request that changes nothing.

        Args:
            is_page: it is for the page itself, to which other sites may link.
        """
        if self.is_local:
            _expect_local(request)
        site = request.value("sec-fetch-site")
        if site in ("", "none", "same-origin"):
            if not is_page:  # an old browser, or plain HTTP, sends no Sec-Fetch-Site
                _expect_own_origin(request)
            return
        if is_page and request.value("sec-fetch-mode") == "navigate" and request.value("sec-fetch-dest") == "document":
            return
        raise AdminError(403, "cross-site", f"the request is from a page of another site (Sec-Fetch-Site: {site})")

    def admit_change(self, request: AdminRequest) -> None:
        """Admit a change, which has passed `admit`: it comes from the page, is JSON and has the token."""
        _expect_own_origin(request)
        if request.value("content-type").partition(";")[0].strip().lower() != "application/json":
            raise AdminError(415, "content-type", "the body has to be JSON: Content-Type: application/json")
        kept, said = request.cookies.get(COOKIE, ""), request.value(TOKEN_HEADER.lower())
        if not is_token(kept) or not compare_digest(kept.encode(), said.encode("utf-8", "replace")):
            raise AdminError(
                403,
                "token",
                f"{TOKEN_HEADER} does not repeat the cookie {COOKIE!r}; GET api/caches gives both",
            )

    def token_of(self, request: AdminRequest) -> tuple[str, dict[str, str]]:
        """The token of a browser, and the header fields of the response that set its cookie."""
        token = request.cookies.get(COOKIE, "")
        if not is_token(token):
            token = secrets.token_urlsafe(TOKEN_BYTES)
        # Without Path, the browser sends it to the API's own folder, even if a proxy serves that under another path.
        cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict{'; Secure' if request.is_https else ''}"
        return token, {"Set-Cookie": cookie}


def is_token(text: str) -> bool:
    """Whether *text* has the form of a token."""
    return len(text) == _TOKEN_CHARS and text.isascii() and text.replace("-", "a").replace("_", "a").isalnum()


def _expect_local(request: AdminRequest) -> None:
    forwarded = [name for name, _ in request.headers if name in PROXY_HEADERS or name.startswith(_PROXY_PREFIX)]
    if forwarded:
        raise AdminError(403, "not-local", f"a proxy has handed the request on ({forwarded[0]}); {_HOW_TO_ADMIT}")
    if request.version == "1.0":  # nginx forwards requests by HTTP/1.0 and adds no header field, unless configured to
        raise AdminError(403, "not-local", f"HTTP/1.0 is not what a browser speaks; {_HOW_TO_ADMIT}")
    if not request.peers or not all(peer is not None and _is_loopback(peer) for peer in request.peers):
        raise AdminError(403, "not-local", f"only clients on this machine are let in; {_HOW_TO_ADMIT}")
    hosts = request.values("host")
    if len(hosts) != 1 or not _names_this_machine(hosts[0]):
        raise AdminError(403, "foreign-host", "the Host of the request has to be localhost or a loopback address")


_HOW_TO_ADMIT: Final = "give authorize= to let others in"


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


def _expect_own_origin(request: AdminRequest) -> None:
    if request.value("sec-fetch-site") == "same-origin":
        return  # the browser has compared the origins; a proxy may have changed Host
    origin = request.value("origin")
    if origin and urlsplit(origin).netloc.lower() != request.value("host").lower():
        raise AdminError(403, "cross-site", f"the request is from a page of another origin ({origin[:200]})")
