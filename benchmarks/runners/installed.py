"""The size on disk of distributions and all that they need. usage: installed.py NAME...   One JSON line, in MiB."""

import json
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def closure(names: list[str]) -> dict[str, Distribution]:
    """The distributions and their requirements, without extras that nobody asked for."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        key = wanted.name.lower().replace("_", "-")
        try:
            here = found.get(key) or distribution(wanted.name)
        except PackageNotFoundError:
            continue
        fresh = key not in found
        found[key] = here
        for extra in ("", *wanted.extras) if fresh else wanted.extras:
            waiting += [each for each in map(Requirement, here.requires or []) if _applies(each, extra)]
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    if requirement.marker is None:
        return not extra
    return requirement.marker.evaluate({"extra": extra}) and (not extra or "extra" in str(requirement.marker))


def size_mb(found: Distribution) -> float:
    """What its list of files takes."""
    paths = [Path(str(found.locate_file(file))) for file in found.files or []]
    return sum(path.stat().st_size for path in paths if path.is_file()) / (1 << 20)


def main() -> None:
    """See the head of this file."""
    names = sys.argv[1:]
    try:
        distribution(names[0])
    except PackageNotFoundError:
        print(json.dumps({"missing": f"{names[0]} is not installed"}))
        return
    sizes = {name: size_mb(found) for name, found in closure(names).items()}
    largest = dict(sorted(sizes.items(), key=lambda item: -item[1])[:8])
    print(json.dumps({"mb": sum(sizes.values()), "count": len(sizes), "largest": largest}))


main()
