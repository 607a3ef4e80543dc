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
from matplotlib.ticker import NullFormatter  # noqa: E402

from benchmarks.plan import ROOT  # noqa: E402

_RESULTS, _FIGURES = ROOT / "benchmarks" / "results", ROOT / "docs" / "figures"
_SIZE = (6.4, 2.8)
"""Inches: as wide as a page of text."""
Rows = list[dict[str, Any]]


def growth(axes: Axes, rows: Rows) -> None:
    """Memory of everyone over the length of the audio."""
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        axes.plot([row["minutes"] for row in mine], [row["peak_rss_mb"] for row in mine], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted({row["minutes"] for row in rows}))
    axes.set_yticks([50, 100, 200, 500, 1_000, 2_000, 5_000])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.0f}")
        axis.set_minor_formatter(NullFormatter())
        axis.set_tick_params(which="minor", length=0)
    axes.set_xlabel("minutes of audio")
    axes.set_ylabel("memory at most, MB")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


PLOTS: dict[str, Callable[[Axes, Rows], None]] = {"growth": growth}
_TITLES = {"growth": "Memory over the length of the audio"}


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
    machine, day = found["machine"], found["taken"][:10]
    axes.set_title(f"{_TITLES[found['case']]}\n{machine['cpu']}, {machine['cores']} cores, {day}", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
