"""ROC and DET curves as SVG: a picture of panels, one for each condition, with every model in it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from scipy.stats import norm

from benchmarks.accuracy.report import f1_rows

Document = Mapping[str, Any]
_PANEL_INCHES = 3.4
"""Side of a panel: the curves of a dozen models stay apart, and three panels fit a page."""
_COLUMNS = 3
"""Panels in a row."""
_DET_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
_DET_LIMITS = (0.005, 0.7)
# Below the least rate that a set this small can tell, where a DET curve would run to minus infinity.
_LEAST_RATE = 1e-4
# Fixed, so that the same figures give the same bytes; and words stay words, which any reader's font can draw.
_STYLE = {
    "svg.hashsalt": "accuracy", "svg.fonttype": "none", "font.size": 9, "lines.linewidth": 1.1,
    # Ten colours that can be told apart, then the same dashed.
    "axes.prop_cycle": mpl.cycler(linestyle=["-", "--", ":"]) * mpl.cycler(color=mpl.colormaps["tab10"].colors),
}  # fmt: skip


def write_curves(told: Document, folder: Path) -> list[Path]:
    """Write `accuracy-roc.svg` and `accuracy-det.svg`; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write(told, folder / "accuracy-roc.svg", _roc),
        _write(told, folder / "accuracy-det.svg", _det),
        write_overview(told, folder / "accuracy-f1.svg"),
    ]


def write_overview(told: Document, path: Path) -> Path:
    """F1 by condition and model, each at one setting for all conditions: a dot for each, models by their mean."""
    rows = f1_rows(told, ", tight") or f1_rows(told)
    titles: Mapping[str, str] = told["about"]["conditions"]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 1.2 + 0.32 * len(rows)), layout="constrained")
        FigureCanvasSVG(figure)
        panel = figure.add_subplot()
        names = list(reversed(rows))
        for place, (condition, title) in enumerate(titles.items()):
            values = [rows[name].get(condition, np.nan) for name in names]
            marker, colour = "os^Dv<>"[place % 7], mpl.colormaps["tab10"](place % 10)
            panel.plot(values, range(len(names)), marker, color=colour, markersize=5, alpha=0.8, label=title)
        means = [float(np.mean(list(rows[name].values()))) for name in names]
        panel.plot(means, range(len(names)), "|", color="black", markersize=14, label="mean")
        panel.set_yticks(range(len(names)), names)
        panel.set_xlabel("F1 of frames, one setting for all conditions")
        panel.grid(alpha=0.3)
        figure.legend(loc="outside right upper", fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _write(told: Document, path: Path, draw: Callable[[Any, Sequence[Document]], None]) -> Path:
    titles: Mapping[str, str] = told["about"]["conditions"]
    columns = min(_COLUMNS, len(titles))
    rows = -(-(len(titles) + 1) // columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(columns * _PANEL_INCHES, rows * _PANEL_INCHES), layout="constrained")
        FigureCanvasSVG(figure)
        for place, (condition, title) in enumerate(titles.items(), start=1):
            panel = figure.add_subplot(rows, columns, place)
            panel.set_title(title)
            draw(panel, [row for row in told["scores"] if row["condition"] == condition])
            panel.grid(alpha=0.3)
        lines, names = panel.get_legend_handles_labels()
        figure.legend(lines, names, loc="lower right", fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _roc(panel: Any, rows: Sequence[Document]) -> None:
    for row in rows:
        panel.plot(row["false_alarm_rates"], 1 - np.array(row["miss_rates"]), label=row["model"])
    panel.set(xlim=(0, 0.6), ylim=(0.4, 1.005), xlabel="false alarm rate", ylabel="share of speech found")


def _det(panel: Any, rows: Sequence[Document]) -> None:
    """Both rates on the scale of a normal distribution's quantiles, as NIST draws them."""
    for row in rows:
        panel.plot(*(_quantile(row[name]) for name in ("false_alarm_rates", "miss_rates")), label=row["model"])
    ticks, limits = _quantile(_DET_TICKS), _quantile(_DET_LIMITS)
    names = [f"{tick:.0%}" for tick in _DET_TICKS]
    panel.set(xlim=limits, ylim=limits, xlabel="false alarm rate", ylabel="miss rate")
    panel.set_xticks(ticks, names)
    panel.set_yticks(ticks, names)


def _quantile(rates: Sequence[float]) -> Any:
    return norm.ppf(np.clip(rates, _LEAST_RATE, 1 - _LEAST_RATE))
