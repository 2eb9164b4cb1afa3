"""A router with the admin page and its API, which looks into the caches of an app."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from fastapi import APIRouter, Depends, HTTPException, params
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from aiohttp_cache_di.admin import DEFAULT_PATH, ENDPOINTS, Admin, AdminRequest, Name, expect_callable, mount_path
from aiohttp_cache_di_fastapi.routes import Route
from aiohttp_cache_di_fastapi.state import CACHED_SESSION, session_of

__all__ = ["Authorize", "admin_router"]

Authorize: TypeAlias = Callable[..., Any] | params.Depends
"""A dependency that raises an HTTPException to refuse, or what `Depends` and `Security` make of one."""


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
        authorize: a dependency that lets a request pass, or raises an HTTPException; one that returns False, or a
            response, refuses, too. It has no default: None, written out, lets clients on this machine in and no others,
            which is for development, and not for a service behind a proxy.
        prefix: where the page is.
        keys: of the sessions whose caches it shows.
        read_only: nothing can be purged.
        previews: the beginnings of bodies are shown.

    Raises:
        ConfigurationError: *authorize* or *prefix* is no such thing.
    """
    path = mount_path(prefix, option="prefix")
    if not isinstance(authorize, params.Depends):
        expect_callable(authorize, what="a dependency")
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
            return RedirectResponse(f"{own}/")  # as the browser sees the path, whatever a proxy has taken off it

        router.add_api_route("", to_page, methods=["GET"], response_model=None)
    return router


def _refusing_false(authorize: Authorize) -> Callable[..., Awaitable[None]]:
    needed: Any = authorize if isinstance(authorize, params.Depends) else Depends(authorize)

    async def gate(verdict: Any = needed) -> None:
        # FastAPI looks at nothing that a dependency returns: what was meant as a refusal has to be one.
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
                pass  # the beginning is no JSON
            return bytes(body)

        asked = AdminRequest(
            request.method,
            [(field.lower(), value) for field, value in request.headers.items()],
            request.query_params.multi_items(),
            request.cookies,
            () if request.client is None else (request.client.host,),
            request.url.scheme == "https",
            read,
            request.scope.get("http_version", ""),
        )
        sessions = [(key, session_of(request, key)) for key in keys]
        reply = await admin.answer(name, asked, sessions, request.path_params.get("number", ""))
        return Response(reply.body, reply.status, reply.headers)

    return route
