"""The admin page, which shows the caches of an app, and its API, as routes of aiohttp.web."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, cast

from aiohttp import web

from aiohttp_cache_di.admin import DEFAULT_PATH, ENDPOINTS, Admin, AdminRequest, Name, expect_callable, mount_path
from aiohttp_cache_di.arguments import expect_keys
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di_web.routes import Handler
from aiohttp_cache_di_web.state import CACHED_SESSION

__all__ = ["Authorize", "add_admin"]

Verdict: TypeAlias = bool | web.StreamResponse

Authorize: TypeAlias = Callable[[web.Request], Verdict | Awaitable[Verdict]]
"""A handler that returns True to admit a request, or returns or raises the response to send instead."""


def add_admin(
    app: web.Application,
    *,
    authorize: Authorize | None,
    path: str = DEFAULT_PATH,
    keys: Sequence[web.AppKey[CachedSession]] = (CACHED_SESSION,),
    read_only: bool = False,
    previews: bool = True,
) -> None:
    """Add the admin page and its API to *app*, before it starts: ``add_admin(app, authorize=is_admin)``.

    Args:
        app: the app that gets the page; or a sub-app of the app with the caches.
        authorize: a handler, which may be a coroutine function. It returns True to admit a request. A response that it
            returns or raises is sent instead; anything else refuses. It has no default: an explicit None admits only
            clients on this machine, which is meant for development, not for a service behind a proxy.
        path: the path of the page.
        keys: the keys of the sessions whose caches it shows.
        read_only: refuse purges.
        previews: show the beginnings of bodies.

    Raises:
        ConfigurationError: *app* is not an app, *authorize* not callable, or *path* not a path.
    """
    if not isinstance(app, web.Application):
        raise ConfigurationError(f"add_admin({app!r}): pass the app, a web.Application")
    base = mount_path(path, option="path")
    expect_callable(authorize, what="a handler")
    keys = expect_keys(keys)
    admin = Admin(is_local=authorize is None, read_only=read_only, previews=previews)

    async def watch(app: web.Application) -> None:
        for key in keys:
            admin.watch(app.get(key))

    async def leave(app: web.Application) -> None:
        for key in keys:
            admin.leave(app.get(key))

    app.on_startup.append(watch)
    app.on_shutdown.append(leave)
    for name, method, below in ENDPOINTS:
        app.router.add_route(method, f"{base}{below}", _admin_handler(admin, name, authorize, keys))
    if base:
        own = base.rpartition("/")[2]

        async def to_page(request: web.Request) -> web.Response:
            # Relative to the path that the browser sees: a proxy may have removed a prefix.
            return web.Response(status=307, headers={"Location": f"{own}/"})

        app.router.add_get(base, to_page)


def _admin_handler(
    admin: Admin, name: Name, authorize: Authorize | None, keys: Sequence[web.AppKey[CachedSession]]
) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        if authorize is not None:
            verdict = authorize(request)
            allowed = await verdict if inspect.isawaitable(verdict) else verdict
            if isinstance(allowed, web.StreamResponse):
                return allowed
            if allowed is not True:
                raise web.HTTPForbidden(text="authorize= has refused the request: it did not return True")
        sessions = [(str(key), request.config_dict.get(key)) for key in keys]
        reply = await admin.answer(name, _admin_request(request), sessions, request.match_info.get("number", ""))
        response = web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        if reply.headers.get("Connection") == "close":
            response.force_close()
        return response

    return handler


def _admin_request(request: web.Request) -> AdminRequest:
    async def read(limit: int) -> bytes:
        body = bytearray()
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > limit:
                break
        return bytes(body)

    # A middleware may have replaced `request.remote`, so the address of the connection is checked as well.
    peer: object = None if request.transport is None else request.transport.get_extra_info("peername")
    address = str(cast("tuple[object, ...]", peer)[0]) if isinstance(peer, tuple) and peer else None
    return AdminRequest(
        method=request.method,
        headers=[(name.lower(), value) for name, value in request.headers.items()],
        query=list(request.query.items()),
        cookies=request.cookies,
        peers=(address, request.remote),
        is_https=request.scheme == "https",
        read=read,
        version=f"{request.version.major}.{request.version.minor}",
    )
