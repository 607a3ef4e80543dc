"""Links between the documents lead somewhere: to a file that is there, and to a heading that it has."""

from pathlib import Path

import pytest

from tests import markdown

ROOT = Path(__file__).resolve().parent.parent
PAGES = markdown.pages(ROOT)
OUTSIDE = ("http:", "https:", "mailto:")
UNLINKED = {".github/pull_request_template.md", "README.md"}
"""Found without a link: by GitHub."""


def targets(page: Path) -> list[str]:
    return [target for target in markdown.links(page.read_text()) if not target.startswith(OUTSIDE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in targets(page):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{target}: there is no such file"
        if anchor:
            assert anchor in markdown.anchors(path.read_text()), f"{target}: there is no such heading"


def test_every_page_can_be_found() -> None:
    linked = {(page.parent / target.partition("#")[0]).resolve() for page in PAGES for target in targets(page)}
    lost = {page.relative_to(ROOT).as_posix() for page in PAGES if page.resolve() not in linked}
    assert lost <= UNLINKED


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_address_is_left_to_be_filled_in(page: Path) -> None:
    text = page.read_text()
    assert "github.com/…" not in text
    assert "git clone …" not in text


def test_anchors_are_githubs() -> None:
    text = "# One thing\n## `GET /x`: why?\n## One thing\n### 不开服务\n```\n# no heading\n```\n"
    assert markdown.anchors(text) == {"one-thing", "get-x-why", "one-thing-1", "不开服务"}
