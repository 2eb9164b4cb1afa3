"""The addresses (URLs) of stores: refused if they are ambiguous, and shown without their secrets.

Programs disagree about URLs that violate RFC 3986. In ``redis://:pa#ss@host/0`` a fragment begins inside the password:
a driver would connect to its default host, and an error message that quotes the "host" would quote the password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

__all__ = [
    "MASK",
    "hosts_of",
    "mask_mongodb_address",
    "mask_redis_address",
    "refuse_odd_endpoint",
    "refuse_odd_mongodb_address",
    "refuse_odd_redis_address",
    "secrets_of",
]

MASK: Final = "***"

_UNRESERVED: Final = r"A-Za-z0-9._~\-"  # RFC 3986 §2.3
_SUB_DELIMS: Final = "!$&'()*+,;="  # RFC 3986 §2.2
_USERINFO: Final = re.compile(rf"(?:[{_UNRESERVED}{_SUB_DELIMS}:]|%[0-9A-Fa-f]{{2}})*")
_ONE_SERVER: Final = frozenset({"redis", "rediss"})
_CLUSTER: Final = frozenset({"redis+cluster", "rediss+cluster"})
_SENTINELS: Final = frozenset({"redis+sentinel", "rediss+sentinel"})
_HOST: Final = re.compile(r"[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~\-]+)?\]")
_ENDPOINT: Final = re.compile(
    r"https?://([A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]+))?(?:/[^\s\\#@?]*)?", re.IGNORECASE
)
_QUERY: Final = re.compile(rf"(?:[{_UNRESERVED}{_SUB_DELIMS}:/?]|%[0-9A-Fa-f]{{2}})*")
# A URL of a host and nothing that could contain a secret.
_HARMLESS: Final = re.compile(
    r"[a-z]{1,10}(?:\+[a-z]{1,10})?://(?:[A-Za-z0-9.\-]*|\[[0-9A-Fa-f:]+\])(?::\d*)?(?:/\d*)?", re.ASCII
)
# The options of a Redis URL whose values are shown: none of them is a secret.
_SHOWN_OPTIONS: Final = frozenset(
    {
        "client_name",
        "db",
        "health_check_interval",
        "max_connections",
        "protocol",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_timeout",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "virtual_host",
    }
)
_ENCODE: Final = "write special characters of a name or a password %-encoded (# as %23, ? as %3F, / as %2F, @ as %40)"


def refuse_odd_redis_address(address: str) -> None:
    """Raise ValueError unless *address* is an unambiguous URL of a server, socket, cluster or service of sentinels.

    The message quotes nothing of the address.
    """
    if re.search(r"[\x00-\x20\x7f\\]", address):
        raise ValueError("the address has a space, a backslash or a control character")
    scheme, separator, rest = address.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _ONE_SERVER | _CLUSTER | _SENTINELS | {"unix"}:
        raise ValueError(
            "the address has to begin with redis://, redis+cluster://, redis+sentinel:// (for TLS: rediss) or unix://"
        )
    if "#" in rest:
        raise ValueError(f"the address has a fragment; {_ENCODE}")
    before_query, _, query = rest.partition("?")
    authority, slash, path = before_query.partition("/")
    if not _QUERY.fullmatch(query) or "@" in slash + path:
        raise ValueError(f"the address has a stray character behind its host; {_ENCODE}")
    userinfo, _, host = authority.rpartition("@")
    if not _USERINFO.fullmatch(userinfo):
        raise ValueError(f"the address has a stray character before its host; {_ENCODE}")
    if scheme == "unix":
        if host or not path:
            raise ValueError("the address names no socket: give its whole path, unix:///path")
        return
    for each in [host] if scheme in _ONE_SERVER else host.split(","):
        _refuse_odd_host(each)
    _refuse_odd_path(scheme, slash + path)


def _refuse_odd_host(host_and_port: str) -> None:
    host, port = _parted(host_and_port)
    if not _HOST.fullmatch(host):
        raise ValueError("the address names no host")
    if port and not _is_port(port):
        raise ValueError(
            f"the address has a port that is not valid; if it is a password, @ and a host have to follow it; {_ENCODE}"
        )


def _refuse_odd_path(scheme: str, path: str) -> None:
    if scheme in _SENTINELS:
        # The characters are those that Sentinel allows in a name.
        if not re.fullmatch(r"/[A-Za-z0-9._\-]+(/\d*)?", path, re.ASCII):
            raise ValueError("the address of sentinels has to end in /name, or in /name/ and the number of a database")
    elif not re.fullmatch(r"(/\d*)?", path, re.ASCII):
        raise ValueError("after its host the address may have / and the number of a database, and nothing else")
    elif scheme in _CLUSTER and path.strip("/0"):
        raise ValueError("a Redis Cluster has no database but 0: leave the number out")


def refuse_odd_endpoint(endpoint: str) -> None:
    """Raise ValueError unless *endpoint* is the URL of a web service, without user and options, that boto accepts.

    The message quotes nothing of the endpoint.
    """
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None or not (found[2] is None or _is_port(found[2])):
        raise ValueError("the endpoint has to be a URL without a user: https://host, or http://host:8000")


def hosts_of(hosts: str, port: int) -> list[tuple[str, int]]:
    """The hosts and ports in a list of hosts; *port* for a host without one."""
    return [(host.strip("[]"), int(given) if given else port) for host, given in map(_parted, hosts.split(","))]


def _is_port(text: str) -> bool:
    return re.fullmatch(r"\d{1,5}", text, re.ASCII) is not None and 0 < int(text) < 65536


def _parted(host_and_port: str) -> tuple[str, str]:
    """The host, and the port; "" for none."""
    found = re.search(r":([^:\]]*)\Z", host_and_port)
    return (host_and_port[: found.start()], found[1]) if found else (host_and_port, "")


def mask_redis_address(address: str) -> str:
    """*address* without its password and the values of options that may be secrets."""
    try:
        refuse_odd_redis_address(address)
        options = parse_qsl(address.partition("?")[2], keep_blank_values=True)
    except ValueError:
        if _HARMLESS.fullmatch(address):
            return address
        scheme = re.match(r"(?:rediss?(?:\+cluster|\+sentinel)?|unix|https?)://", address)
        return (scheme[0] if scheme else "") + MASK
    # urlsplit refuses lists of hosts with brackets.
    scheme_of, _, rest = address.partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    shown = f"{user}:{MASK}" if password else user
    query = "&".join(f"{key}={quote(value) if key in _SHOWN_OPTIONS else MASK}" for key, value in options)
    where = f"{scheme_of.lower()}://{shown}{at if shown else ''}{host}{slash}{path}"
    return f"{where}?{query}" if query else where


def refuse_odd_mongodb_address(address: str) -> None:
    """Raise ValueError unless *address* is an unambiguous URL of MongoDB servers.

    The message quotes nothing of the address.
    """
    found = re.fullmatch(r"mongodb(?:\+srv)?://([^/?#]*)(/[A-Za-z0-9_.\-]*)?(?:\?(.*))?", address)
    if found is None:
        raise ValueError(f"the address is not of the form mongodb://host:27017 or mongodb+srv://host; {_ENCODE}")
    authority, _, query = found.groups("")
    userinfo, _, hosts = authority.rpartition("@")
    if not _USERINFO.fullmatch(userinfo):
        raise ValueError(f"the address has a stray character before its host; {_ENCODE}")
    if not all(map(_is_mongodb_host, hosts.split(","))):
        raise ValueError(f"the address has a host or a port that is not valid; {_ENCODE}")
    if not _QUERY.fullmatch(query):
        raise ValueError(f"the address has a stray character behind its host; {_ENCODE}")


def _is_mongodb_host(host_and_port: str) -> bool:
    host, port = _parted(host_and_port)
    is_socket = host.endswith(".sock") and re.fullmatch(r"(?:[A-Za-z0-9._\-]|%2F)+", host, re.IGNORECASE)
    return (_is_port(port) or host == host_and_port) and bool(_HOST.fullmatch(host) or is_socket)


def secrets_of(address: str) -> Iterator[str]:
    """The passwords in *address*, of any store, both as they are written there and decoded."""
    before_query, _, query = address.partition("://")[2].partition("?")
    password = before_query.partition("/")[0].rpartition("@")[0].partition(":")[2]
    given = [value for name, value in parse_qsl(query) if "password" in name.lower()]
    yield from (each for secret in (password, *given) if secret for each in (secret, unquote(secret)))


def mask_mongodb_address(address: str) -> str:
    """*address* without its user and its options; all of it masked if it is ambiguous."""
    try:
        refuse_odd_mongodb_address(address)
    except ValueError:
        return MASK
    servers, query, _ = address.partition("?")
    scheme, separator, rest = servers.partition("://")
    _, user, where = rest.rpartition("@")
    return f"{scheme}{separator}{MASK + user if user else ''}{where}{query + MASK if query else ''}"
