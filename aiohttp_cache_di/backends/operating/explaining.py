"""`explain`: what the cache would do with a request now, and why; without asking the origin or changing anything."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence, Set
from typing import Any

from aiohttp import hdrs
from aiohttp.typedefs import StrOrURL
from multidict import CIMultiDict

from aiohttp_cache_di import keys
from aiohttp_cache_di.backends.configured import LOOKING_UP, Configured
from aiohttp_cache_di.backends.operating.explanation import Explanation
from aiohttp_cache_di.backends.operating.operated import Operated
from aiohttp_cache_di.backends.operating.searching import Search
from aiohttp_cache_di.backends.operating.store_view import StoreView
from aiohttp_cache_di.backends.operating.terms import expect_method, named_url
from aiohttp_cache_di.backends.options.values import refuse_unusable
from aiohttp_cache_di.entries.info import EntryInfo, short_id
from aiohttp_cache_di.keys.credentials import pairs_of, partition_of
from aiohttp_cache_di.policy import Bypass, Fetch, FullQuestion, RequestDecision, Rules, Validate
from aiohttp_cache_di.policy.rules.book import Wishes
from aiohttp_cache_di.policy.rules.expiration import ExpirationTime
from aiohttp_cache_di.policy.rules.principals import Principal
from aiohttp_cache_di.policy.rules.windows import Window
from aiohttp_cache_di.policy.tracing import Step, Trace, length_of
from aiohttp_cache_di.rfc9111.cache_status import forwarded, purged
from aiohttp_cache_di.rfc9111.messages import Request, StoredResponse

__all__ = ["Explained"]

UNREADABLE = (
    "what is stored for it cannot be read: damaged, foreign, made by another serializer, or signed with another key"
)


class Explained(Operated):
    """Explains what the cache would do with a request."""

    async def explain(
        self,
        method: str,
        url: StrOrURL,
        *,
        expire_after: ExpirationTime = None,
        refresh: bool = False,
        only_if_cached: bool = False,
        stale_if_error: Window = None,
        principal: Principal = None,
        **kwargs: Any,
    ) -> Explanation:
        """Explain what the cache would do with a request now, and why, without asking the origin.

        A session adds its own headers, cookies and credentials to requests: use `CachedSession.explain` for them.
        A store that fails is no error: the explanation then has what a request would do, and why the store fails.

        Args:
            kwargs: the other arguments of the request.
        """
        expect_method(method)
        asked = named_url(url)[0]
        refuse_unusable({"refresh": refresh, "only_if_cached": only_if_cached})
        await self.learn_secret()
        wishes = Wishes(expire_after, refresh, only_if_cached, stale_if_error)
        method = method.upper()
        asked = asked.extend_query(kwargs["params"]) if kwargs.get("params") else asked
        headers = CIMultiDict(pairs_of(kwargs.get("headers") or ()))
        whose = self.whose(method, asked, headers, principal)
        arguments = {name: value for name, value in kwargs.items() if name != "params"}
        if principal:
            arguments["principal"] = principal
        message = Request(method, str(asked.with_user(None) if asked.user else asked), headers)
        question = FullQuestion.of(
            message,
            self.rules_for(asked, wishes),
            key=self.create_key(method, asked, **arguments),
            partition=partition_of(asked, kwargs, self.names_of_credentials, key=self.digest_key, **whose),
            is_named="principal" in whose,
        )
        get_key = self.create_key(hdrs.METH_GET, asked, **arguments)
        follows = bool(kwargs.get("allow_redirects", True))
        return await self.explain_question(question, get_key=get_key, wishes=wishes, follows=follows)

    async def explain_question(
        self,
        question: FullQuestion,
        *,
        get_key: str,
        wishes: Wishes,
        follows: bool = True,
        passed_by: str = "",
    ) -> Explanation:
        """Like `explain`, for a request that has been turned into a `FullQuestion`.

        Args:
            get_key: the key of the same request with the method GET.
            wishes: the caching options of the request itself.
            follows: whether the request follows redirects.
            passed_by: why the request bypasses the cache; "" if it does not.
        """
        request, rules, now, trace = question.request, question.rules, time.time(), Trace()
        view = StoreView(self, self.entries)
        search = Search(self, view, question, trace, now)
        decision: RequestDecision
        if passed_by:
            trace.steps.append(Step("method", False, passed_by))
            decision, stored = Bypass("bypass"), await view.infos(request.url)
        else:
            primary, entry = await search.find(get_key)
            stored = await view.infos(request.url)
            _hint(trace, view, primary, stored, {get_key, question.key})
            decision = await search.decide(primary, entry, follows=follows)
        return Explanation(
            method=request.method,
            url=keys.redact_url(request.url, self.ignored_params),
            key="" if passed_by else question.key,
            partition=short_id(question.partition),
            decision=type(decision).__name__,
            cache_status=_status_of(decision, search.purged),
            steps=tuple(trace.steps),
            settings=tuple(_settings(self, request.url, rules, wishes)),
            stored=tuple(stored),
            store_error=view.error,
            is_all=view.is_all,
        )


def _hint(
    trace: Trace, view: StoreView, primary: StoredResponse | None, stored: Sequence[EntryInfo], own: Set[str]
) -> None:
    """Add to *trace* why no stored response is selected, as far as that is known.

    Args:
        own: the keys under which a response to the request would be stored.
    """
    if view.is_incomplete:
        trace.hints["selected"] = view.error
        if primary is None:
            trace.hints["askable"] = "what is stored is not known"
    elif primary is None and any(info.key in own for info in stored):
        trace.hints.setdefault("selected", UNREADABLE)
    elif primary is None and stored:
        others = sorted({info.partition or "everyone" for info in stored})
        trace.hints.setdefault("selected", f"what is stored for the URL is for others: {', '.join(others)}")


def _settings(backend: Configured, url: str, rules: Rules, wishes: Wishes) -> list[str]:
    """The settings that apply to a request, each with its source."""
    pattern, found = backend.url_rules.pattern_of(url), backend.url_rules.match(url)
    by_pattern = f"urls_expire_after[{pattern!r}]"
    settings = [f"cache_control={rules.cache_control}{', shared=True' if rules.shared else ''}"]
    is_by_pattern = found is not None and (found.value is not None or not found.says_more)
    source = by_pattern if is_by_pattern else "the backend"
    source = source if wishes.expire_after is None else "the request"
    lifetime = "nothing" if rules.lifetime_s is None else length_of(rules.lifetime_s)
    insisted = ", which overrides the origin" if rules.override_origin else ""
    settings.append(f"expire_after says {lifetime}{insisted}, by {source}")
    for name in ("stale_if_error", "stale_while_revalidate"):
        window_s: float | None = getattr(rules, f"{name}_s")
        if window_s is not None:
            by = "the request" if getattr(wishes, name, None) is not None else "the backend"
            by = by_pattern if by != "the request" and getattr(found, name, None) is not None else by
            window = "as long as it is stored" if window_s == math.inf else length_of(window_s)
            settings.append(f"{name}={window}, by {by}")
    settings += [f"{name}=True, by the request" for name in ("refresh", "only_if_cached") if getattr(wishes, name)]
    settings += [f"{name}() is your own, and is not asked here" for name in sorted(LOOKING_UP & backend.overridden)]
    return settings


def _status_of(decision: RequestDecision, tag: str) -> str:
    """The Cache-Status of the response.

    Args:
        tag: the tag whose purge affects the stored response; "" for none.
    """
    if isinstance(decision, Bypass):
        return forwarded(decision.reason)
    status = forwarded(decision.reason) if isinstance(decision, Fetch | Validate) else decision.cache_status
    return purged(status, tag)
