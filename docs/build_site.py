"""Builds the documents' site into build/site: `python docs/build_site.py`, or `make site`.

The pages lie where readers of the repository look for them, at the root, in `docs/` and in `deploy/`. mkdocs wants one
folder, so they are copied into one, in the same tree, with every file that they link to: then all links stay as they
are. A link or an anchor that leads nowhere ends the build (`strict` and `validation` in mkdocs.yml).
"""

import logging
import shutil
import sys
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import markdown  # noqa: E402

PAGES = ROOT / "build/site-pages"
_OUTSIDE = ("http:", "https:", "mailto:", "#")


def stage() -> None:
    """Copy the pages, what they link to, and what the site adds to its theme."""
    shutil.rmtree(PAGES, ignore_errors=True)
    _copy(ROOT / "docs/site.css")
    _copy(ROOT / "docs/site.js")
    for page in markdown.pages(ROOT):
        if ".github" in page.parts:
            continue
        _copy(page)
        for target in markdown.links(page.read_text()):
            linked = (page.parent / target.partition("#")[0]).resolve()
            if not target.startswith(_OUTSIDE) and linked.suffix != ".md":
                _copy(linked)


def _copy(path: Path) -> None:
    target = PAGES / path.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def main() -> int:
    """Stage, then build; the exit status. Warnings end it, so they are shown."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    stage()
    build(load_config(str(ROOT / "docs/mkdocs.yml")))
    print("build/site/index.html")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
