"""A FastAPI gateway for many tenants: a tenant's data are cached for that tenant only, public data for all.

    uvicorn --factory examples.gateway:make_app

The gateway has one account at the upstream, whose token changes each hour, and names the tenant in a header. So
credentials do not separate tenants here; ``principal=`` does. ``AIOHTTP_CACHE_…`` variables configure the cache.
"""

from __future__ import annotations

import os
from typing import Annotated

from aiohttp import ClientError
from dependency_injector import providers
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Response

from aiohttp_cache_di import CacheContainer, CachedSession, CacheSettings
from aiohttp_cache_di_fastapi import CachedSessionDep, make_cache_health, make_lifespan

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9001")
TENANTS = {"key-of-red": "red", "key-of-blue": "blue"}  # in real life: your login

router = APIRouter()


async def tenant_of(x_api_key: Annotated[str, Header()]) -> str:
    """The tenant of a request; 401 for an unknown key, 422 without one."""
    try:
        return TENANTS[x_api_key]
    except KeyError:
        raise HTTPException(401, "this key is no tenant's") from None


TenantDep = Annotated[str, Depends(tenant_of)]


async def token() -> str:
    """The gateway's own token for the upstream; it changes each hour."""
    return os.environ.get("UPSTREAM_TOKEN", "token-of-this-hour")


TokenDep = Annotated[str, Depends(token)]


@router.get("/orders/{order}")
async def order(order: str, tenant: TenantDep, token: TokenDep, session: CachedSessionDep) -> Response:
    """Data of this tenant: each principal has its own part of the cache."""
    headers = {"Authorization": f"Bearer {token}", "X-On-Behalf-Of": tenant}
    return await passed_on(session, f"/orders/{order}", headers=headers, principal=tenant)


@router.get("/countries")
async def countries(tenant: TenantDep, token: TokenDep, session: CachedSessionDep) -> Response:
    """Data that are the same for all tenants: ``shared_credentials`` says that the token does not matter."""
    return await passed_on(session, "/countries", headers={"Authorization": f"Bearer {token}"})


async def passed_on(
    session: CachedSession, path: str, *, headers: dict[str, str], principal: str | None = None
) -> Response:
    """The response of the upstream or the cache; 502 if there is neither."""
    try:
        async with session.get(f"{UPSTREAM}{path}", headers=headers, principal=principal) as upstream:
            body, told = await upstream.read(), {"Cache-Status": upstream.cache_status}
            return Response(body, upstream.status, told, upstream.headers.get("Content-Type"))
    except (ClientError, TimeoutError) as error:
        raise HTTPException(502, f"the upstream cannot be asked: {type(error).__name__}") from error


def make_app() -> FastAPI:
    """Make the app; the cache is opened when it starts and closed when it stops."""
    host = UPSTREAM.partition("//")[2]
    # As variable: AIOHTTP_CACHE_SHARED_CREDENTIALS=api.example.com/countries
    settings = providers.Factory(CacheSettings, shared_credentials=[f"{host}/countries"])
    app = FastAPI(lifespan=make_lifespan(CacheContainer(settings=settings)))
    app.include_router(router)
    app.add_api_route("/readyz", make_cache_health())
    return app
