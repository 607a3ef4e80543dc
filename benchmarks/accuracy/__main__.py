"""`python -m benchmarks.accuracy FOLDER [--model NAME] [--setting NAME=MODEL,option=value] [--condition white:10]`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.accuracy.conditions import DEFAULTS, UnknownCondition, parse
from app.accuracy.corpus import NoLabelledAudio, find_recordings, read_corpus
from app.accuracy.intervals import DRAWS
from app.accuracy.labels import InvalidLabels
from app.accuracy.service import Service
from app.config import Settings
from app.logs import configure_logging
from app.registry import installed
from app.runtime import start_runtime
from app.vad.errors import VadError
from benchmarks.accuracy.blind import blind_spots
from benchmarks.accuracy.curves import write_curves
from benchmarks.accuracy.peers import PEERS
from benchmarks.accuracy.report import markdown, write_json
from benchmarks.accuracy.run import Run
from benchmarks.plan import ROOT, Plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, print the tables and write everything; 2 for what was asked wrongly or cannot be had."""
    given = _arguments(arguments)
    try:
        told = asyncio.run(_judge(given))
    except (NoLabelledAudio, InvalidLabels, UnknownCondition, VadError) as error:
        print(error, file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    write_json(given.out / "accuracy.json", told)
    (given.out / "accuracy.md").write_text(markdown(told))
    curves = write_curves(told, given.out) if told["scores"] else []
    print(markdown(told))
    for name, reason in told["about"]["missing"].items():
        print(f"not judged: {name}: {reason}")
    print(f"written to {given.out}: accuracy.json, accuracy.md{''.join(f', {path.name}' for path in curves)}")
    return 0


async def _judge(given: argparse.Namespace) -> dict[str, Any]:
    conditions = [parse(text) for text in given.condition or DEFAULTS]
    clips = read_corpus(given.folder)
    run = Run(clips, conditions, given.drawings)
    unlabelled = find_recordings(given.folder).unlabelled
    # With the settings of the environment, so that models of one's own are judged too (VAD_MODELS).
    runtime = await start_runtime(Settings(), installed())
    service = Service(runtime)
    try:
        chosen = dict(_setting(text) for text in given.setting or ())
        settings = await service.settings(given.model or await service.model_names(), chosen)
        models = list(dict.fromkeys(setting.model for setting in settings))
        run.blind = await blind_spots(service, models, unlabelled, given.folder) if unlabelled else {}
        await run.all(service, models, settings, () if given.no_peers else PEERS, Plan(False, 1).peers_python)
    finally:
        runtime.close()
    return run.document(given.folder)


def _setting(text: str) -> tuple[str, tuple[str, dict[str, str]]]:
    """Read a setting of one's own, `NAME=MODEL,option=value,…`."""
    name, _, rest = text.partition("=")
    model, *options = rest.split(",")
    pairs = [option.partition("=") for option in options]
    return name, (model, {key: value for key, _, value in pairs})


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description="How well this service's detectors, and its peers, find speech in labelled audio.",
    )
    parser.add_argument("folder", type=Path, help="audio with labels, in any form of docs/accuracy.md")
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="a model or a sum, in every mode (all at hand); repeatable"
    )
    parser.add_argument(
        "--setting", action="append", metavar="NAME=MODEL,option=value,…",
        help="judge this, and neither every mode nor presets; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--condition", action="append", metavar="NAME",
        help=f"clean, telephone, level:-30, white:5, pink:0, music:5, noise.wav:0 ({', '.join(DEFAULTS)}); repeatable",
    )  # fmt: skip
    parser.add_argument("--drawings", type=int, default=DRAWS, help=f"of files, for intervals ({DRAWS}; 0: none)")
    parser.add_argument("--no-peers", action="store_true", help="leave other detectors out")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "artifacts" / "accuracy", help="where files are written (artifacts/accuracy)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    configure_logging("auto", "error")
    sys.exit(main())
