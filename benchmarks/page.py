"""Frames that the page draws while an hour with 2,000 segments is edited, as its own clock of frames tells.

    python -m benchmarks.page           prints a table and keeps it in benchmarks/results/page.json; needs the built
                                        page and Chromium

The times are of the page's main thread and of its frames, so they say how fast this machine's browser is, too.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import Page, sync_playwright

from benchmarks.plan import ROOT
from benchmarks.results import commit, machine
from tests.browser.card import CardView, upload
from tests.browser.conftest import launched
from tests.server import local_server
from tests.signals import bursts
from tests.small_checkpoint import write_small_checkpoint

SEGMENTS = 2_000
"""Of the hour: a segment every 1.8 s, more than speech has."""
HOUR_MS = 3_600_000
"""Length of the audio, in the page's unit."""
_FIRST_END_MS = 1_080
"""Where the first segment ends: 60 % of the 1.8 s that one and its pause take."""
_MIDDLE_END_MS = 1_080 + 1_800 * 900
"""Where a segment in the middle of the hour ends."""
_NOTE_FRAMES = """() => {
    window.frames_ = [];
    let last = performance.now();
    const step = now => {
        window.frames_.push(now - last);
        last = now;
        window.frameLoop = requestAnimationFrame(step);
    };
    window.frameLoop = requestAnimationFrame(now => { last = now; step(now); });
}"""
_DRAG = """async ([from, to]) => {
    const line = document.querySelector('.timeline');
    const box = line.getBoundingClientRect();
    const send = (type, x) => line.dispatchEvent(new PointerEvent(type, {
        clientX: box.left + x, clientY: box.top + 60, pointerId: 1, button: 0, buttons: 1, bubbles: true}));
    line.setPointerCapture = () => undefined;
    send('pointerdown', from);
    for (let frame = 0; frame < 180; frame += 1) {
        await new Promise(requestAnimationFrame);
        send('pointermove', from + (to - from) * Math.abs(Math.sin(frame / 20)));
    }
    send('pointerup', to);
}"""
_SCROLL = """async ([deltaX, deltaY, ctrlKey]) => {
    const line = document.querySelector('.timeline');
    for (let frame = 0; frame < 180; frame += 1) {
        await new Promise(requestAnimationFrame);
        const turn = ctrlKey && frame >= 90 ? -deltaY : deltaY;
        const wheel = {deltaX, deltaY: turn, ctrlKey, clientX: 600, bubbles: true, cancelable: true};
        line.dispatchEvent(new WheelEvent('wheel', wheel));
    }
}"""
_FRAMES = "() => { cancelAnimationFrame(window.frameLoop); return window.frames_.slice(2); }"


def marks_of_an_hour(folder: Path) -> Path:
    """As many labels, evenly over the hour."""
    each = HOUR_MS / SEGMENTS / 1000
    path = folder / "marks.txt"
    path.write_text("".join(f"{at * each:.3f}\t{at * each + each * 0.6:.3f}\tspeech\n" for at in range(SEGMENTS)))
    return path


def measured(page: Page, act: Callable[[], None]) -> tuple[float, float, float]:
    """(frames a second, 95th percentile of a frame in ms, share of frames over 25 ms) while something is done."""
    page.evaluate(_NOTE_FRAMES)
    act()
    frames = np.array(page.evaluate(_FRAMES))
    return 1000 / float(frames.mean()), float(np.percentile(frames, 95)), float((frames > 25).mean())


def dragged(card: CardView, from_ms: float, to_ms: float) -> Callable[[], None]:
    """An edge is dragged to and fro for three seconds, a step a frame."""
    return lambda: card.page.evaluate(_DRAG, [card.x_of(from_ms), card.x_of(to_ms)])


def main() -> None:
    """Measure every action, and print frames a second."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("there is no chromium here")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver, launched(driver, program) as browser:
        folder = Path(name)
        model = write_small_checkpoint(folder / "model")
        path = folder / "hour.wav"
        soundfile.write(path, np.tile(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]), 360), 16_000, subtype="PCM_16")
        with local_server(model, folder) as server:
            page = browser.new_page(locale="en-US", viewport={"width": 1280, "height": 900})
            page.goto(f"{server.url}/ui/")
            card = upload(page, path)
            card.await_segments(720)
            card.root.locator("input[data-import]").set_input_files(marks_of_an_hour(folder))
            page.wait_for_selector(".marks tbody tr[data-place]")
            print(json.dumps({"rows made": card.root.locator(".marks tbody tr[data-place]").count()}))
            keep(report(page, card))


def keep(rows: list[dict[str, Any]]) -> None:
    """Write the figures, with the machine that they were had on."""
    head = {
        "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "load_average": os.getloadavg()[0],
        "machine": machine(),
        "audio": f"an hour with {SEGMENTS} segments that are being corrected",
    }
    path = ROOT / "benchmarks" / "results" / "page.json"
    path.write_text(json.dumps({**head, "rows": rows}, indent=2, ensure_ascii=False) + "\n")


def report(page: Page, card: CardView) -> list[dict[str, Any]]:
    """A line for each thing that is done; the figures."""
    rows: list[dict[str, Any]] = []

    def line(title: str, act: Callable[[], None]) -> None:
        rate, slow, late = measured(page, act)
        print(f"{title:28} {rate:5.1f} frames/s   p95 {slow:5.1f} ms   over 25 ms {late:6.1%}")
        rows.append({"action": title, "frames_s": round(rate, 1), "p95_ms": round(slow, 1), "late": round(late, 3)})

    line("nothing", lambda: page.wait_for_timeout(2000))
    line("drag an edge, whole hour", dragged(card, _MIDDLE_END_MS, _MIDDLE_END_MS + 60_000))
    line("zoom in and out", lambda: page.evaluate(_SCROLL, [0, -10, True]))
    card.root.get_by_role("button", name="Fit").click()
    for _ in range(6):
        card.root.get_by_role("button", name="Zoom in").click()
    line("scroll, a minute in sight", lambda: page.evaluate(_SCROLL, [12, 0, False]))
    card.root.locator(".marks .number").first.click()
    page.wait_for_timeout(200)
    line("drag an edge, close", dragged(card, _FIRST_END_MS, _FIRST_END_MS + 500))
    return rows


if __name__ == "__main__":
    main()
