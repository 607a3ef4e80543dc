"""The processes that a process has started, however deep, and what has become of them."""

import time
from pathlib import Path

_LIMIT_S = 60


def descendants(pid: int) -> set[int]:
    """Process ids of its children, and theirs."""
    children: dict[int, list[int]] = {}
    for each in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(each.name))
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(int(each.name))
    found, ahead = set[int](), [pid]
    while ahead:
        below = children.get(ahead.pop(), [])
        found.update(below)
        ahead.extend(below)
    return found


def command_line(pid: int) -> str:
    """With spaces between its words; empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def wait_until_gone(pids: set[int]) -> set[int]:
    """Those that still run after a minute."""
    deadline = time.monotonic() + _LIMIT_S
    while (left := {pid for pid in pids if _runs(pid)}) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _runs(pid: int) -> bool:
    fields = _stat(pid)
    return fields is not None and fields[0] != "Z"


def _stat(pid: int) -> list[str] | None:
    """State, parent, …: what stands behind the name in parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
