"""What every page that is written must be: whole, and readable without a network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = {"meta", "br", "hr", "col", "img", "input", "link"}


class _Page(HTMLParser):
    """Collects what a browser would fetch or run, and the tags that are open; pixels in the page are none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[tuple[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        self.open += [tag] * (tag not in _VOID)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [(tag, None)] * (tag in ("script", "link", "iframe", "img", "object", "embed"))
        for name, value in attrs:
            inside = (value or "").startswith(("#", "data:image/png;base64,"))
            if name in ("src", "href", "xlink:href", "data", "srcset") and not inside:
                self.fetched.append((tag, value))
            self.fetched += [(tag, url) for url in re.findall(r"url\((?!#)[^)]*\)", value or "")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()}"


def assert_whole(page: str) -> None:
    """Check that each tag is closed where it should be, and that the page fetches and runs nothing."""
    parser = _Page()
    parser.feed(page)
    assert parser.open == [] and parser.fetched == []
    assert not re.search(r"https?:|@import", page)
