"""`python -m benchmarks [--quick] [--only CASE] [--repeat N]`, or `--gate [--against COMMIT]`."""

import argparse
import os
import sys

from rich.console import Console

from benchmarks.audio import NoRoom, describe
from benchmarks.cases import CASES
from benchmarks.gate import gate
from benchmarks.plan import Plan
from benchmarks.process import Missing
from benchmarks.results import Neighbours, machine, write
from benchmarks.table import show


def main() -> int:
    """Run cases one after the other; 1 when one could not be run at all."""
    given = _arguments()
    plan = Plan(quick=given.quick, repeat=given.repeat or (2 if given.quick else 3))
    console = Console(highlight=False, soft_wrap=True)
    here = machine()
    console.print(f"{here['cpu']}, {here['cores']} cores, {here['memory_mb']:,} MB; audio: {describe(plan)}")
    console.print(f"load average at the start: {os.getloadavg()[0]:.2f}; {plan.repeat} rounds, medians\n")
    if given.gate:
        try:
            return gate(plan, given.against, console)
        except Missing as error:
            console.print(f"could not be measured: {error}", style="red", markup=False)
            return 1
    failed = False
    for name in given.only or CASES:
        neighbours = Neighbours()
        try:
            result = CASES[name](plan)
        except (Missing, NoRoom) as error:
            console.print(f"{name}: could not be measured: {error}", style="red", markup=False)
            failed = True
            continue
        show(result)
        stolen = neighbours.share
        if stolen:
            console.print(f"other guests of this host took {stolen:.1%} of the processor meanwhile\n")
        write(result, plan, stolen)
    console.print(f"written to {plan.results_folder}")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="This project beside its peers.")
    parser.add_argument("--quick", action="store_true", help="10 minutes stand for an hour; for seeing that all works")
    parser.add_argument(
        "--only", action="append", choices=CASES, metavar="CASE", help=f"of {', '.join(CASES)}; repeatable"
    )
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds (3; 2 with --quick)")
    parser.add_argument(
        "--gate", action="store_true", help="what requests cost beside an earlier commit; fails when one is dearer"
    )
    parser.add_argument("--against", metavar="COMMIT", help="of --gate; default: the one benchmarks/results is from")
    return parser.parse_args()


sys.exit(main())
