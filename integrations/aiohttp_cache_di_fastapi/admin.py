"""A router with the admin page, which shows the caches of an app, and its API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from fastapi import APIRouter, Depends, HTTPException, params
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from aiohttp_cache_di.admin import DEFAULT_PATH, ENDPOINTS, Admin, AdminRequest, Name, expect_callable, mount_path
from aiohttp_cache_di.arguments import expect_keys
from aiohttp_cache_di_fastapi.routes import Route
from aiohttp_cache_di_fastapi.state import CACHED_SESSION, session_of

__all__ = ["Authorize", "admin_router"]

Authorize: TypeAlias = Callable[..., Any] | params.Depends
"""A dependency that raises an HTTPException to refuse a request; also as `Depends` or `Security`."""


def admin_router(
    *,
    authorize: Authorize | None,
    prefix: str = DEFAULT_PATH,
    keys: Sequence[str] = (CACHED_SESSION,),
    read_only: bool = False,
    previews: bool = True,
) -> APIRouter:
    """Make a router with the admin page and its API: ``app.include_router(admin_router(authorize=require_admin))``.

    Args:
        authorize: a dependency that raises an HTTPException to refuse a request, or returns False or a response. It has
            no default: an explicit None admits only clients on this machine, which is meant for development, not for
            a service behind a proxy.
        prefix: the path of the page.
        keys: the keys of the sessions whose caches it shows.
        read_only: refuse purges.
        previews: show the beginnings of bodies.

    Raises:
        ConfigurationError: *authorize* is not a dependency, or *prefix* not a path.
    """
    path = mount_path(prefix, option="prefix")
    if not isinstance(authorize, params.Depends):
        expect_callable(authorize, what="a dependency")
    keys = expect_keys(keys)
    admin = Admin(is_local=authorize is None, read_only=read_only, previews=previews)

    @asynccontextmanager
    async def watching(app: Any) -> AsyncGenerator[None]:
        sessions = [getattr(getattr(app, "state", None), key, None) for key in keys]
        for session in sessions:
            admin.watch(session)
        try:
            yield
        finally:
            for session in sessions:
                admin.leave(session)

    needed = [] if authorize is None else [Depends(_refusing_false(authorize))]
    router = APIRouter(prefix=path, dependencies=needed, include_in_schema=False, lifespan=watching)
    for name, method, below in ENDPOINTS:
        router.add_api_route(below, _admin_route(admin, name, keys), methods=[method], response_model=None)
    if path:
        own = path.rpartition("/")[2]

        async def to_page() -> Response:
            return RedirectResponse(
                f"{own}/"
            )  # relative to the path that the browser sees: a proxy may have removed a prefix

        router.add_api_route("", to_page, methods=["GET"], response_model=None)
    return router


def _refusing_false(authorize: Authorize) -> Callable[..., Awaitable[None]]:
    needed: Any = authorize if isinstance(authorize, params.Depends) else Depends(authorize)

    async def gate(verdict: Any = needed) -> None:
        # FastAPI ignores what a dependency returns, so a refusal that is returned has to be raised here.
        if verdict is False or isinstance(verdict, Response):
            raise HTTPException(403, "authorize= has refused the request")

    return gate


def _admin_route(admin: Admin, name: Name, keys: Sequence[str]) -> Route:
    async def route(request: Request) -> Response:
        async def read(limit: int) -> bytes:
            body = bytearray()
            try:
                async for piece in request.stream():
                    body += piece
                    if len(body) > limit:
                        break
            except ClientDisconnect:
                pass  # the incomplete body is not valid JSON, and is refused as such
            return bytes(body)

        asked = AdminRequest(
            method=request.method,
            headers=[(field.lower(), value) for field, value in request.headers.items()],
            query=request.query_params.multi_items(),
            cookies=request.cookies,
            peers=() if request.client is None else (request.client.host,),
            is_https=request.url.scheme == "https",
            read=read,
            version=request.scope.get("http_version", ""),
        )
        sessions = [(key, session_of(request, key)) for key in keys]
        reply = await admin.answer(name, asked, sessions, request.path_params.get("number", ""))
        return Response(reply.body, reply.status, reply.headers)

    return route
