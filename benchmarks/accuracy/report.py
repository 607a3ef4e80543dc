"""Figures as JSON and as tables in Markdown. Tables are made of what the JSON holds: a kept run can be told again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.accuracy.judging import Segmented
    from benchmarks.accuracy.judging import Scored  # tables are made without what judging needs

Document = Mapping[str, Any]
_NOTHING = "–"
OF_PEERS = ", its own"
"""Ends the names of other detectors' settings."""


def document(about: Document, scored: "Sequence[Scored]", segmented: "Sequence[Segmented]") -> dict[str, Any]:
    """All of a run. Figures are [value, low, high]; null where there is nothing to count."""
    return {
        "about": dict(about),
        "scores": [_rounded(asdict(row)) for row in scored],
        "segments": [_rounded(asdict(row)) for row in segmented],
    }


def write_json(path: Path, told: Document) -> None:
    """A row in a line: two runs can then be compared by their lines."""
    parts = [f'"about": {json.dumps(told["about"], indent=1, ensure_ascii=False)}']
    for name in ("scores", "segments"):
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in told[name])
        parts.append(f'"{name}": [\n{rows}\n]')
    parts.append(f'"blind": {json.dumps(told.get("blind", {}), indent=1, ensure_ascii=False)}')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def markdown(told: Document) -> str:
    """Every table, with its heading."""
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in tables(told).items()) + "\n"


def tables(told: Document) -> dict[str, str]:
    """By heading, in Markdown: of probabilities, of segments, and in full for each condition."""
    titles: dict[str, str] = told["about"]["conditions"]
    return {
        "Probabilities: AUC / best frame F1": probabilities(told),
        "Segments: frame F1 (missed speech / false alarms)": segments(told),
        **({"Loud frames without labels called speech": shares(told["blind"])} if told.get("blind") else {}),
        **{f"Segments in full: {title}": in_full(told, condition) for condition, title in titles.items()},
    }


def probabilities(told: Document) -> str:
    """AUC and best frame F1 of each model in each condition."""
    titles, rows = told["about"]["conditions"], told["scores"]
    by = {(row["model"], row["condition"]): f"{_dot(row['auc'])}/{_dot(row['best_f1'])}" for row in rows}
    body = ([f"`{model}`", *(by[model, each] for each in titles)] for model in dict.fromkeys(m for m, _ in by))
    return _table(["", *titles.values()], body)


def probability_means(told: Document) -> str:
    """AUC and best frame F1 of each model, means of the conditions; the best AUC first."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in told["scores"]:
        found.setdefault(row["model"], []).append((row["auc"][0], row["best_f1"][0]))
    means = {model: [sum(figures) / len(both) for figures in zip(*both, strict=True)] for model, both in found.items()}
    rows = (
        [model, _dot([auc]), _dot([f1])] for model, (auc, f1) in sorted(means.items(), key=lambda each: -each[1][0])
    )
    return _table(["", "AUC", "best F1"], rows)


def segments(told: Document, prefix: str = "") -> str:
    """F1, missed speech and false alarms of each setting in each condition. `prefix`: of those whose names begin so."""
    titles = told["about"]["conditions"]
    by = {(row["setting"], row["condition"]): row for row in told["segments"] if row["setting"].startswith(prefix)}

    def line(setting: str) -> list[str]:
        mine = [by[setting, each] for each in titles]
        shares = [f"{_dot(r['f1'])} ({_percent(r['miss_rate'])}/{_percent(r['false_alarm_rate'])})" for r in mine]
        mean = sum(row["f1"][0] or 0.0 for row in mine) / len(mine)
        return [setting, *shares, _dot([mean])]

    return _table(["", *titles.values(), "mean F1"], map(line, dict.fromkeys(setting for setting, _ in by)))


def f1_by_condition(told: Document, *suffixes: str, prefix: str = "") -> str:
    """F1 alone of each setting in each condition, the best mean first. `suffixes`, `prefix`: of those whose names end
    with one of them, or begin so."""
    means, titles = f1_rows(told, *suffixes, prefix=prefix), told["about"]["conditions"]
    lines = ([name, *(_dot([row.get(each)]) for each in titles), _dot([_mean(row)])] for name, row in means.items())
    return _table(["", *titles.values(), "mean"], lines)


def f1_rows(told: Document, *suffixes: str, prefix: str = "") -> dict[str, dict[str, float]]:
    """By setting, without its suffix, and condition, F1; the best mean first."""
    found: dict[str, dict[str, float]] = {}
    for row in told["segments"]:
        name: str = row["setting"]
        suffix = next((each for each in suffixes or ("",) if name.endswith(each)), None)
        if suffix is not None and name.startswith(prefix) and row["f1"][0] is not None:
            found.setdefault(name.removesuffix(suffix), {})[row["condition"]] = row["f1"][0]
    return dict(sorted(found.items(), key=lambda each: -_mean(each[1])))


def modes(told: Document) -> str:
    """The mean F1 of each model in each of its modes."""
    found: dict[str, dict[str, float]] = {}
    for name, row in f1_rows(told).items():
        model, comma, mode = name.partition(", ")
        if comma and not name.startswith("preset ") and not name.endswith(OF_PEERS):
            found.setdefault(model, {})[mode] = _mean(row)
    kinds = list(dict.fromkeys(mode for by in found.values() for mode in by))
    kinds.sort()
    rows = ([model, *(_dot([by.get(mode)]) for mode in kinds)] for model, by in found.items())
    return _table(["", *(f"`{mode}`" for mode in kinds)], rows)


def _mean(row: Mapping[str, float]) -> float:
    return sum(row.values()) / len(row)


def in_full(told: Document, condition: str) -> str:
    """Everything that was counted of each setting in one condition."""
    rows = [row for row in told["segments"] if row["condition"] == condition]
    heads = ["", "F1", "missed %", "false alarms %", "detection error %"]
    heads += ["starts: median, p95, bias ms; found %", "ends: median, p95, bias ms; found %", "segments, longest"]
    return _table(heads, map(_full_row, rows))


def shares(by_model: Mapping[str, Mapping[str, float]]) -> str:
    """Of sounds without speech, how much each model took for speech (`benchmarks.accuracy.sounds`)."""
    sounds = list(dict.fromkeys(sound for by in by_model.values() for sound in by))
    return _table(
        ["", *sounds], ([f"`{model}`", *(f"{by[each]:.0%}" for each in sounds)] for model, by in by_model.items())
    )


def _full_row(row: Document) -> list[str]:
    shares = [_with_interval(row[name], 100) for name in ("miss_rate", "false_alarm_rate", "detection_error")]
    edges = []
    for kind in ("onset", "offset"):
        median, p95, bias = (_ms(row[f"{kind}_{name}_ms"]) for name in ("median", "p95", "bias"))
        edges.append(f"{median}, {p95}, {bias}; {_percent(row[f'{kind}s_found'])}")
    return [
        row["setting"], _with_interval(row["f1"], 1), *shares, *edges, f"{row['segments']}, {row['longest_s']:.1f} s",
    ]  # fmt: skip


def _table(heads: Sequence[str], rows: Any) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _dot(figure: Sequence[float | None]) -> str:
    value = figure[0]
    return _NOTHING if value is None else f"{value:.3f}".removeprefix("0")


def _percent(figure: Sequence[float | None]) -> str:
    value = figure[0]
    return _NOTHING if value is None else f"{value:.1%}"


def _ms(figure: Sequence[float | None]) -> str:
    value = figure[0]
    return _NOTHING if value is None else f"{value:.0f}"


def _with_interval(figure: Sequence[float | None], scale: float) -> str:
    value, low, high = figure
    digits = 3 if scale == 1 else 1
    if value is None:
        return _NOTHING
    told = f"{scale * value:.{digits}f}"
    return told if low is None or high is None else f"{told} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Figures as lists, to a tenth of what can be told."""
    return dict(_flat(row))


def _flat(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield name, [None if each is None else round(each, 4) for each in value.values()]
        else:
            yield name, value
