"""`python -m benchmarks.plots`: pictures of the results in benchmarks/results, as SVG in docs/figures.

They need matplotlib (`make install EXTRAS=accuracy`). A case without a result is left out.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
# Text stays text, and two runs over the same figures give the same bytes.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fsmn-vad", "font.size": 9, "axes.grid": True})

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of backend
from matplotlib.axes import Axes  # noqa: E402

from benchmarks.plan import ROOT  # noqa: E402

_RESULTS, _FIGURES = ROOT / "benchmarks" / "results", ROOT / "docs" / "figures"
_SIZE = (6.4, 2.8)
"""Inches: as wide as a page of text."""
Rows = list[dict[str, Any]]


def parts(axes: Axes, rows: Rows) -> None:
    """A bar for each part of an hour."""
    shown = [row for row in rows if row["name"] != "the whole"]
    axes.barh([row["name"] for row in shown], [row["hour_s"] for row in shown], color="#2b6cb0")
    axes.invert_yaxis()
    axes.set_xlabel("CPU s per hour of audio, one core")


def growth(axes: Axes, rows: Rows) -> None:
    """Memory of everyone over the length of the audio."""
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        axes.plot([row["minutes"] for row in mine], [row["peak_rss_mb"] for row in mine], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("minutes of audio")
    axes.set_ylabel("peak RSS, MB")
    axes.legend(fontsize=7)


def growth_models(axes: Axes, rows: Rows) -> None:
    """Memory when ready, over the number of models."""
    axes.bar([str(len(row["models"].split(","))) for row in rows], [row["ready_mb"] for row in rows], color="#2b6cb0")
    axes.set_xlabel("models loaded")
    axes.set_ylabel("RSS when ready, MB")


def growth_files(axes: Axes, rows: Rows) -> None:
    """Time over the number of files in a batch."""
    axes.plot([row["files"] for row in rows], [row["seconds"] for row in rows], marker="o", color="#2b6cb0")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("clips of 5.5 s in a batch")
    axes.set_ylabel("seconds")


def live(axes: Axes, rows: Rows) -> None:
    """Memory and processor over the number of streams."""
    connections = [row["connections"] for row in rows]
    axes.plot(connections, [row["rss_mb"] for row in rows], marker="o", color="#2b6cb0", label="RSS, MB")
    axes.set_xlabel("live streams")
    axes.set_ylabel("RSS, MB")
    cores = axes.twinx()
    cores.plot(connections, [row["server_cpu"] for row in rows], marker="s", color="#c05621", label="CPU, cores")
    cores.set_ylabel("server CPU, cores")


PLOTS: dict[str, Callable[[Axes, Rows], None]] = {
    "parts": parts, "growth": growth, "growth_models": growth_models, "growth_files": growth_files, "live": live,
}  # fmt: skip


def main() -> None:
    """Draw every case that has a result."""
    for path in draw_all(_RESULTS, _FIGURES):
        print(path.relative_to(ROOT))


def draw_all(results: Path, figures: Path) -> list[Path]:
    """Pictures of the results in a folder, into another; their paths."""
    figures.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, plot in PLOTS.items():
        result = results / f"{name}.json"
        if result.is_file():
            drawn.append(figures / f"{name}.svg")
            _draw(json.loads(result.read_text()), plot, drawn[-1])
    return drawn


def _draw(found: dict[str, Any], plot: Callable[[Axes, Rows], None], path: Path) -> None:
    figure, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    plot(axes, found["rows"])
    axes.set_title(f"{found['title']}\n{found['machine']['cpu']}, {found['machine']['cores']} cores", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
