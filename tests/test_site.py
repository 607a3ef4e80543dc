"""The documents' site: it builds without a warning, asks nobody outside for anything, and every link in it leads on."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests import markdown

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build/site"

pytest.importorskip("material", reason="mkdocs-material is not installed (the extra [site])")
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """A built page: what it links to, what it loads, which anchors it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.anchors |= {named[name] for name in ("id", "name") if name in named}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif tag in ("script", "img", "iframe", "link"):
            self.loaded += [named[name] for name in ("src", "href") if name in named]


@pytest.fixture(scope="module")
def built() -> dict[Path, Page]:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "docs/build_site.py")], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "WARNING" not in ended.stderr
    return {path: Page(path) for path in SITE.rglob("*.html")}


def test_every_document_is_in_it(built: dict[Path, Page]) -> None:
    names = {path.relative_to(SITE).as_posix() for path in built}
    assert {
        "index.html",
        "ARCHITECTURE.html",
        "docs/options.html",
        "docs/zh/options.html",
        "deploy/index.html",
    } <= names


def test_links_and_anchors_lead_on(built: dict[Path, Page]) -> None:
    checked = 0
    for path, page in built.items():
        if path.name == "404.html":  # made for a server's root
            continue
        for link in page.links:
            name, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", name):
                continue
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), (path.name, link)
            if anchor and target.suffix == ".html":
                assert anchor in built[target].anchors, (path.name, link)
                checked += 1
    assert checked > 100


def test_every_table_is_one(built: dict[Path, Page]) -> None:
    """Where Markdown's readers differ, pipes would stand in the text."""
    for page in markdown.pages(ROOT):
        name = page.relative_to(ROOT).as_posix().replace("README.md", "index.md").replace(".md", ".html")
        if ".github" not in page.parts:
            assert (SITE / name).read_text().count("<table") == len(markdown.tables(page.read_text())), name


def test_nothing_comes_from_outside(built: dict[Path, Page]) -> None:
    for path, page in built.items():
        assert [source for source in page.loaded if source.startswith(("http:", "https:", "//"))] == [], path.name
    styles = "".join(path.read_text() for path in SITE.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )['\"]?(?:https?:)?//[^)'\"]*", styles) == []


def test_both_languages_can_be_searched(built: dict[Path, Page]) -> None:
    index = json.loads((SITE / "search/search_index.json").read_text())
    text = " ".join(entry["text"] for entry in index["docs"])
    assert "max_end_silence_time" in text
    assert "短暂停顿" in text


@pytest.fixture(scope="module")
def address(built: dict[Path, Page]) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.browser
@pytest.mark.full
@pytest.mark.parametrize(
    ("asked", "expected"),
    [("sherpa", "recipes"), ("静音", "docs/zh/options"), ("门", "docs/zh/accuracy"), ("短暂停顿", "docs/zh/options")],
)
def test_search_finds_words_of_both_languages(address: str, asked: str, expected: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found, asked_for = search(browser.new_page(), f"{address}/index.html?q={asked}")
        browser.close()
    assert any(expected in href for href in found[:5]), found
    assert [url for url in asked_for if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.browser
@pytest.mark.full
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody(built: dict[Path, Page], address: str, scheme: str) -> None:
    """axe finds nothing on any page, and no line of code is cut at 1280 columns of pixels."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    axe = ROOT / "web/node_modules/axe-core/axe.min.js"
    if chromium is None or not axe.is_file():
        pytest.skip("there is no chromium here, or no axe-core (make page)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
        for name in sorted(path.relative_to(SITE).as_posix() for path in built if path.name != "404.html"):
            page.goto(f"{address}/{name}")
            page.locator("[data-md-component=content]").wait_for()
            cut = "[...document.querySelectorAll('pre code')].filter((code) => code.scrollWidth > code.clientWidth + 1)"
            assert page.evaluate(f"{cut}.map((code) => code.innerText)") == [], name
            found = page.evaluate(f"{axe.read_text()}; axe.run().then((told) => told.violations)")
            told = [(each["id"], node["target"]) for each in found for node in each["nodes"]]
            assert told == [], name
        browser.close()


def search(page: Any, url: str) -> tuple[list[str], list[str]]:
    """Where the results lead, and what the browser asked for."""
    asked_for: list[str] = []
    page.on("request", lambda request: asked_for.append(request.url))
    page.goto(url)
    page.locator(".md-search-result__link").first.wait_for(state="attached", timeout=60_000)
    links = page.locator(".md-search-result__link").all()
    return [str(link.get_attribute("href")) for link in links], asked_for
