"""What a person sees of one card."""

import re
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

LONG_MS = 60_000


@dataclass(frozen=True)
class CardView:
    """One file on the page."""

    page: Page
    root: Locator

    @property
    def rows(self) -> Locator:
        """Rows of the table."""
        return self.root.locator("tbody tr")

    @property
    def regions(self) -> Locator:
        """Shaded stretches of the waveform."""
        return self.root.locator('[part^="region s"]')

    def await_segments(self, count: int) -> None:
        """Return when it shows as many."""
        expect(self.root).to_have_attribute("data-segments", str(count), timeout=LONG_MS)
        expect(self.rows).to_have_count(count)

    def table_ms(self) -> list[tuple[int, int]]:
        """(start, end) of every row."""
        cells = self.rows.evaluate_all("rows => rows.map(row => [row.cells[1].textContent, row.cells[2].textContent])")
        return [(_ms(start), _ms(end)) for start, end in cells]

    def region_pixels(self) -> list[tuple[float, float]]:
        """(left, right) of every region on the screen, left to right."""
        boxes = [region.bounding_box() for region in self.regions.all()]
        return sorted((box["x"], box["x"] + box["width"]) for box in boxes if box)

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
    """Choose files; the card of the last one."""
    page.set_input_files("input[type=file]", [str(path) for path in paths])
    return last_card(page)


def last_card(page: Page) -> CardView:
    """The card at the bottom."""
    return CardView(page, page.locator("article.card").last)


def _ms(clock: str) -> int:
    found = re.fullmatch(r"(?:(\d+):)?(\d+):(\d\d)\.(\d{3})", clock)
    assert found, clock
    hours, minutes, seconds, ms = (int(part or 0) for part in found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
