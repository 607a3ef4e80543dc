"""A storm of any length, and its account: `make soak ARGS="--seconds 600"`."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.plan import Plan
from benchmarks.results import Neighbours, write
from benchmarks.table import Result
from tests.small_checkpoint import write_small_checkpoint
from tests.soak.samples import golden, made
from tests.soak.storm import Storm
from tools.reference_data import reference_folder


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--model", type=Path, help="a model directory; without it a small one that is made here")
    parser.add_argument(
        "--reference", type=Path, default=reference_folder(),
        help="the folder of reference data, whose audio and segments are used when --model is the published one",
    )  # fmt: skip
    parser.add_argument(
        "--keep", action="store_true", help="write benchmarks/results/soak.json, for docs/reliability.md"
    )
    given = parser.parse_args()
    neighbours = Neighbours()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("samples", "model"):
            (folder / part).mkdir()
        samples = made(folder / "samples")
        if given.model is not None:
            samples += golden(given.reference)
        model = given.model or write_small_checkpoint(folder / "model")
        account = Storm(model, folder, samples, given.seconds).run()
    print(account.told())
    if given.keep:
        plan = Plan(quick=False, repeat=1)
        title = f"A storm of {given.seconds:g} s"
        write(Result("soak", title, {"name": "", "value": ""}, account.rows()), plan, neighbours.share)
    return 1 if account.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
