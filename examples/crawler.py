"""A polite crawler, which continues where it was stopped.

    python -m examples.crawler https://example.org/ --pages 100

Polite: it reads robots.txt, requests one page at a time with a pause between them, names itself, and revalidates a page
by its ETag instead of fetching it again. Resumable: pages are stored in files (``crawl/``) for a day, however a run
ended, so that the next run gets them at once and without a pause.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from contextlib import suppress
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin
from urllib.robotparser import RobotFileParser

from aiohttp import ClientError
from yarl import URL

from aiohttp_cache_di import CachedSession, FileBackend

AGENT = "example-crawler/1.0 (+https://example.org/crawler)"
PAUSE_S = 1.0  # between two requests to the host


class Links(HTMLParser):
    """Collects where a page links to."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the target of a link, without its fragment."""
        for name, value in attrs:
            if tag == "a" and name == "href" and value:
                with suppress(ValueError):  # such as http://[x/
                    self.found.append(urldefrag(urljoin(self._base, value)).url)


class Crawler:
    """Walks the pages of one host, breadth first."""

    def __init__(self, session: CachedSession, start: str, pages: int, pause_s: float = PAUSE_S) -> None:
        self._session, self._pause_s, self._pages = session, pause_s, pages
        self._origin = URL(start).origin()
        self._robots = RobotFileParser()
        self._waiting, self._known = deque([start]), {start}
        self.fetched = self.from_cache = 0

    async def run(self) -> None:
        """Walk until there are no pages left, or enough."""
        robots = await self._text(str(self._origin / "robots.txt"))
        if robots is None:  # the host failed, and may have rules
            return
        self._robots.parse(robots.splitlines())
        self._pause_s = max(self._pause_s, float(self._robots.crawl_delay(AGENT) or 0))
        while self._waiting and self._pages > 0:
            url = self._waiting.popleft()
            if self._robots.can_fetch(AGENT, url):
                self._pages -= 1
                links = Links(url)
                links.feed(await self._text(url) or "")
                self._waiting += [new for new in links.found if self._is_new(new)]

    def _is_new(self, url: str) -> bool:
        try:
            is_here = URL(url).origin() == self._origin
        except ValueError:  # not an http or https URL
            return False
        if url in self._known or not is_here:
            return False
        self._known.add(url)
        return True

    async def _text(self, url: str) -> str | None:
        """The text of a page; "" if it is not text, None if the host fails. Pauses after a request to the host."""
        try:
            async with self._session.get(url) as response:
                is_text = response.status == 200 and response.content_type.startswith("text/")
                text = await response.text(errors="replace") if is_text else ""
        except (ClientError, TimeoutError) as error:
            print(f"{type(error).__name__}: {url}")
            return None
        print(f"{response.cache_status}: {url}")
        if "fwd=" in response.cache_status:  # the host was asked, perhaps only to revalidate
            self.fetched += 1
            await asyncio.sleep(self._pause_s)
        else:
            self.from_cache += 1
        return None if response.status >= 500 else text


async def main(start: str, pages: int) -> None:
    """Crawl from *start*, and print how many requests that took."""
    cache = FileBackend("crawl", cache_control=True, expire_after="1d", allowed_codes=[200, 301, 308, 404])
    async with CachedSession(cache=cache, headers={"User-Agent": AGENT}) as session:
        crawler = Crawler(session, start, pages)
        await crawler.run()
        print(f"{crawler.fetched} fetched, {crawler.from_cache} from the cache")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Crawl a site politely.")
    parser.add_argument("start")
    parser.add_argument("--pages", type=int, default=100)
    asked = parser.parse_args()
    asyncio.run(main(asked.start, asked.pages))
