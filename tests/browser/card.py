"""What a person sees of one card."""

import re
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.waiting import eventually

LONG_MS = 60_000
ALL_ROWS = 200
"""Of more the page makes those in sight."""
_IN_WAVE = 60
"""Pixels from the timeline's top: below the ruler, above everything else."""
_SHADED = """(canvas, y) => {
    const ratio = canvas.width / canvas.clientWidth;
    // From a copy: Chromium complains of canvases that are drawn and read in turns.
    const copy = new OffscreenCanvas(canvas.width, 1).getContext('2d', {willReadFrequently: true});
    copy.drawImage(canvas, 0, -Math.round(y * ratio));
    const row = copy.getImageData(0, 0, canvas.width, 1).data;
    const found = [];
    for (let x = 0; x <= canvas.width; x += 1) {
        const on = x < canvas.width && row[4 * x + 3] > 0;
        const last = found.at(-1);
        if (on && (!last || last[1] !== undefined)) found.push([x]);
        else if (!on && last && last[1] === undefined) last.push(x);
    }
    // The playhead is a line of its own.
    return found.filter(([left, right]) => right - left > 2 * ratio).map(edges => edges.map(x => x / ratio));
}"""


@dataclass(frozen=True)
class CardView:
    """One file on the page."""

    page: Page
    root: Locator

    @property
    def rows(self) -> Locator:
        """Rows of the table."""
        return self.root.locator(".choosable tbody tr:not(.gap)")

    @property
    def timeline(self) -> Locator:
        """Waveform, lanes and curve."""
        return self.root.locator(".timeline")

    def await_segments(self, count: int) -> None:
        """Return when it shows as many."""
        expect(self.root).to_have_attribute("data-segments", str(count), timeout=LONG_MS)
        if count <= ALL_ROWS:
            expect(self.rows).to_have_count(count)

    def table_ms(self) -> list[tuple[int, int]]:
        """(start, end) of every row."""
        cells = self.rows.evaluate_all("rows => rows.map(row => [row.cells[1].textContent, row.cells[2].textContent])")
        return [(_ms(start), _ms(end)) for start, end in cells]

    def region_pixels(self) -> list[tuple[float, float]]:
        """(left, right) of every shaded stretch of the waveform on the screen, left to right."""
        box = self.timeline.bounding_box()
        assert box is not None
        shaded = self.root.locator("canvas.over").evaluate(_SHADED, _IN_WAVE)
        return [(box["x"] + left, box["x"] + right) for left, right in shaded]

    def expect_regions(self, count: int) -> None:
        """Return when as many stretches of the waveform are shaded."""
        eventually(lambda: len(self.region_pixels()) == count)

    def view_ms(self) -> tuple[float, float]:
        """The stretch that is in sight."""
        read = "canvas => [Number(canvas.dataset.startMs), Number(canvas.dataset.endMs)]"
        start, end = self.root.locator("canvas.ground").evaluate(read)
        return start, end

    def click_at(self, ms: float, y: float | None = None) -> None:
        """Press the timeline at a moment; `y` pixels from its top, else on the waveform."""
        self.timeline.click(position={"x": self.x_of(ms), "y": _IN_WAVE if y is None else y})

    def x_of(self, ms: float) -> float:
        """Pixels from the timeline's left."""
        start, end = self.view_ms()
        box = self.timeline.bounding_box()
        assert box is not None
        return (ms - start) / (end - start) * box["width"]

    def option(self, name: str) -> Locator:
        """The field of an option, beside its slider."""
        return self.root.locator(f'[data-option="{name}"]')

    def set_option(self, name: str, value: float) -> None:
        """Type a number."""
        self.option(name).fill(str(value))
        self.option(name).press("Enter")

    def choose_mode(self, mode: str) -> None:
        """Press its button."""
        self.root.locator(f'input[type=radio][value="{mode}"] + span').click()

    @property
    def models(self) -> Locator:
        """The chooser."""
        return self.root.get_by_label("Model", exact=True)

    def expect_made_by(self, model: str, mode: str) -> None:
        """Return when it shows an answer of this model, in this mode."""
        expect(self.root.locator(".made-by")).to_have_text(f"model {model} · mode {mode}", timeout=LONG_MS)

    def export(self, form: str) -> tuple[str, bytes]:
        """(file name, content) of a download."""
        with self.page.expect_download() as waiting:
            self.root.locator(f'button[data-format="{form}"]').click()
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def upload(page: Page, *paths: Path) -> CardView:
    """Choose files; the card of the one that is open."""
    page.set_input_files("input[data-pick]", [str(path) for path in paths])
    return last_card(page)


def last_card(page: Page) -> CardView:
    """The card that is open."""
    return CardView(page, page.locator("article.card"))


def _ms(clock: str) -> int:
    found = re.fullmatch(r"(?:(\d+):)?(\d+):(\d\d)\.(\d{3})", clock)
    assert found, clock
    hours, minutes, seconds, ms = (int(part or 0) for part in found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
