"""The READMEs' moving picture: a file is dropped on the page, and a threshold is moved.

    make film           makes docs/pictures/page.webp and page.zh.webp anew

It is drawn by Chromium from the built page and its own sample, by Silero VAD, whose weights a package brings; needs the
extras dev, silero and film, and for the Chinese one a Chinese font. Animated WebP: GitHub and browsers show it.
"""

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser.card import CardView, last_card  # noqa: E402
from tests.browser.conftest import launched  # noqa: E402
from tests.server import RunningServer, local_server  # noqa: E402

FILMS = {"page.webp": "en-US", "page.zh.webp": "zh-CN"}
"""By file, in which language."""
_SIZE = {"width": 960, "height": 740}
_SETTINGS = "?threshold=0.9&min_silence_duration_ms=30&min_speech_duration_ms=50"
"""With which the threshold that is moved makes many segments of few."""
_CURVE_PX = 73
"""Of the probability curve from 0 to 1, in windows of that height."""
_FRAME_MS = 90
"""Eleven a second: a hand that moves is seen to move, and the file stays small."""
_QUALITY = 72
"""Of 100: letters stay clear, and a film has some hundreds of kilobytes."""
_MOST_KB = 700
"""What a README may ask of a telephone."""
_CURSOR = """() => {
    const hand = document.createElement('div');
    hand.id = 'hand';
    hand.innerHTML = `<svg width="22" height="28" viewBox="0 0 22 28"><path d="M2 1v20l5-5 3.4 8 3.8-1.6-3.4-7.8H18z"
        fill="#111" stroke="#fff" stroke-width="1.6"/></svg>
        <span style="position:absolute;left:18px;top:22px;padding:5px 10px;border-radius:7px;background:#0d6b60;
        color:#fff;font:600 14px system-ui;white-space:nowrap">call.wav</span>`;
    hand.style.cssText = 'position:fixed;z-index:99;left:0;top:0;pointer-events:none';
    document.body.append(hand);
}"""
_PLACE = "([x, y]) => { document.getElementById('hand').style.transform = `translate(${x}px, ${y}px)`; }"
_DRAG_OVER = "kind => document.body.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true}))"
_DROP = """async () => {
    const answer = await fetch('../sample.wav');
    const transfer = new DataTransfer();
    transfer.items.add(new File([await answer.blob()], 'call.wav', {type: 'audio/wav'}));
    document.querySelector('#hand span').remove();
    document.body.dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: transfer}));
}"""

Point = tuple[float, float]


class Film:
    """Frames of one page, and a hand that moves over it."""

    def __init__(self, page: Page, hand: Point) -> None:
        self._page, self._hand = page, hand
        self._frames: list[Image.Image] = []
        self._lengths: list[int] = []
        page.evaluate(_CURSOR)
        page.evaluate(_PLACE, hand)

    def shoot(self, length_ms: int = _FRAME_MS) -> None:
        """Add what is to be seen now."""
        frame = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        if self._frames and frame.tobytes() == self._frames[-1].tobytes():
            self._lengths[-1] += length_ms
            return
        self._frames.append(frame)
        self._lengths.append(length_ms)

    def move(self, to: Point, frames: int, *, with_mouse: bool = False) -> None:
        """The hand goes there, slowly at both ends."""
        (x1, y1), (x2, y2) = self._hand, to
        for frame in range(1, frames + 1):
            share = frame / frames
            share = share * share * (3 - 2 * share)
            x, y = x1 + (x2 - x1) * share, y1 + (y2 - y1) * share
            self._page.evaluate(_PLACE, (x, y))
            if with_mouse:
                self._page.mouse.move(x, y)
                self._page.wait_for_timeout(2 * _FRAME_MS)  # the service answers meanwhile
            self.shoot()
        self._hand = to

    def save(self, path: Path) -> None:
        """Write it; it begins again at its end."""
        first, *others = self._frames
        first.save(
            path, save_all=True, append_images=others, duration=self._lengths, loop=0, quality=_QUALITY, method=6
        )
        size = path.stat().st_size
        print(f"{path.name}: {len(self._frames)} frames, {sum(self._lengths) / 1000:.1f} s, {size / 1000:.0f} kB")
        if size > _MOST_KB * 1000:
            sys.exit(f"{path.name} is larger than {_MOST_KB} kB")


def main() -> None:
    """Make both."""
    program = shutil.which("chromium") or sys.exit("there is no Chromium here")
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as driver,
        launched(driver, program) as browser,
        local_server("silero", Path(folder), {"VAD_MODELS": "silero"}) as server,
    ):
        for name, locale in FILMS.items():
            page = browser.new_page(locale=locale, viewport=_SIZE, color_scheme="light", reduced_motion="reduce")
            _play(page, server).save(ROOT / "docs" / "pictures" / name)
            page.close()


def _play(page: Page, server: RunningServer) -> Film:
    page.goto(f"{server.url}/ui/{_SETTINGS}")
    page.wait_for_selector(".facts li:nth-child(3)")
    film = Film(page, (880, 700))
    film.shoot(700)
    film.move((700, 500), 3)
    page.evaluate(_DRAG_OVER, "dragenter")
    film.move((470, 200), 7)
    film.shoot(250)
    page.evaluate(_DROP)
    card = last_card(page)
    card.timeline.wait_for()
    page.wait_for_timeout(500)
    film.shoot(1200)
    _drag(page, card, film)
    return film


def _drag(page: Page, card: CardView, film: Film) -> None:
    """The threshold of a segment's end goes up, and down, and back to where it was."""
    box = card.timeline.bounding_box()
    assert box is not None
    bottom = box["y"] + box["height"] - 1
    with _pressed(page, film, (box["x"] + box["width"] * 0.4, bottom - 0.35 * _CURVE_PX)):
        for probability in (0.88, 0.03, 0.35):
            film.move((box["x"] + box["width"] * 0.4, bottom - probability * _CURVE_PX), 9, with_mouse=True)
            film.shoot(700)
    film.shoot(1200)


@contextmanager
def _pressed(page: Page, film: Film, at: Point) -> Iterator[None]:
    film.move(at, 6)
    page.mouse.move(*at)
    page.mouse.down()
    yield
    page.mouse.up()


if __name__ == "__main__":
    main()
