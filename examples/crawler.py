"""A crawler that is polite, and that goes on where it was stopped.

    python -m examples.crawler https://example.org/ --pages 100

Polite: it reads robots.txt, asks for one page at a time with a pause between, says who it is, and asks for a page again
only by its ETag. Resumable: pages lie in files (``crawl/``) and count for a day, however a run ended, so that the next
one has at once and without a pause what that one had.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin
from urllib.robotparser import RobotFileParser

from aiohttp import ClientError
from yarl import URL

from aiohttp_cache_di import CachedSession, FileBackend

AGENT = "example-crawler/1.0 (+https://example.org/crawler)"
PAUSE_S = 1.0  # between two requests that reach the host


class Links(HTMLParser):
    """Collects where a page links to."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the target of a link, without what follows its #."""
        for name, value in attrs:
            if tag == "a" and name == "href" and value:
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
        self._robots.parse((await self._text(str(self._origin / "robots.txt"))).splitlines())
        while self._waiting and self.fetched + self.from_cache <= self._pages:
            url = self._waiting.popleft()
            if self._robots.can_fetch(AGENT, url):
                links = Links(url)
                links.feed(await self._text(url))
                self._waiting += [new for new in links.found if self._is_new(new)]

    def _is_new(self, url: str) -> bool:
        if url in self._known or not url.startswith(str(self._origin)):
            return False
        self._known.add(url)
        return True

    async def _text(self, url: str) -> str:
        """The text of a page; nothing for what is none. Pauses after each request that reached the host."""
        try:
            async with self._session.get(url) as response:
                text = await response.text() if response.status == 200 else ""
        except (ClientError, TimeoutError) as error:
            print(f"{type(error).__name__}: {url}")
            return ""
        print(f"{response.cache_status}: {url}")
        if response.from_cache:
            self.from_cache += 1
        else:
            self.fetched += 1
            await asyncio.sleep(self._pause_s)
        return text


async def main(start: str, pages: int) -> None:
    """Crawl from *start*, and say what it cost."""
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
