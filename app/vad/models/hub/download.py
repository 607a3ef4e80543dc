"""A model's files from the hub into ModelScope's cache, by the hub's own client, in bounded time.

The client retries by itself for longer than a start may take, and has no way to be stopped. So it runs in a child
process that is ended when nothing arrives for `STALL_S`; while bytes arrive a download may take as long as it needs.
"""

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

CONNECT_S = 5.0
"""Longest wait for a connection to the hub, the name's look-up and all its addresses together."""
STALL_S = 7.0
"""Longest that a download may stand still."""
_ADDRESS_S = 2.0
_CLIENT = Path(__file__).with_name("client.py")


class DownloadFailed(Exception):
    """The hub did not give the model; the message says why in a few words."""


def download(
    model: str, revision: str | None, patterns: Sequence[str], *, endpoint: str, cache_dir: Path, places: Sequence[Path]
) -> None:
    """Fetch the files that match `patterns`; `places` are the directories of the cache where the client may put them.

    Raises `DownloadFailed`. What arrived is as the hub's listing states it (the client checks size and SHA-256).
    """
    check_reachable(endpoint)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadFailed(f"{cache_dir} cannot be made ({error.strerror or error})") from None
    # As the client has it without MODELSCOPE_CACHE set: absolute, so that child and parent agree.
    environment = {**os.environ, "MODELSCOPE_CACHE": str(cache_dir.resolve()), "MODELSCOPE_ENDPOINT": endpoint}
    # By path, not `-m`: that would take another package named `app` where the service happens to be started.
    command = [sys.executable, str(_CLIENT), model, revision or "", *patterns]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            _watch(child, places)
        finally:
            child.kill()
        reason = child.stdout.read().decode(errors="replace").strip() if child.stdout else ""
    if child.returncode != 0:
        raise DownloadFailed(reason[:300] or f"the download ended with status {child.returncode}")


def check_reachable(endpoint: str) -> None:
    """Raises `DownloadFailed` when nothing answers at the endpoint within `CONNECT_S`."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError as error:
        raise DownloadFailed(f"this is not an address ({error})") from None
    if getproxies().keys() & {parts.scheme, "all"} and not proxy_bypass(host):
        return  # the proxy, not this machine, knows whether the hub is there
    answer: queue.SimpleQueue[str] = queue.SimpleQueue()
    # Looking up a name has no time limit of its own, so it is waited for from outside.
    threading.Thread(target=lambda: answer.put(_knock(host, port)), daemon=True).start()
    try:
        reason = answer.get(timeout=CONNECT_S)
    except queue.Empty:
        reason = f"no answer within {CONNECT_S:g} s"
    if reason:
        raise DownloadFailed(f"cannot be reached ({reason})")


def _knock(host: str, port: int) -> str:
    """Why no connection can be made; empty when one can."""
    try:
        socket.create_connection((host, port), timeout=_ADDRESS_S).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: what cannot be a host's name
        return str(getattr(error, "strerror", None) or error)
    return ""


def _watch(child: "subprocess.Popen[bytes]", places: Sequence[Path]) -> None:
    """Wait for the child while bytes arrive. Raises when none do for `STALL_S`.

    Only more than ever before is progress, for a client that begins anew again and again gets nowhere. Once it may:
    where a hub does not resume, what an earlier start left is thrown away.
    """
    most, since, begun_anew = _size_of(places), time.monotonic(), False
    while child.poll() is None:
        size = _size_of(places)
        if size < most and not begun_anew:
            most, since, begun_anew = size, time.monotonic(), True
        elif size > most:
            most, since = size, time.monotonic()
        elif time.monotonic() - since > STALL_S:
            raise DownloadFailed(f"the download stood still for {STALL_S:g} s")
        time.sleep(0.1)


def _size_of(places: Sequence[Path]) -> int:
    total = 0
    for path in (path for place in places for path in place.rglob("*")):
        with contextlib.suppress(OSError):  # the child renames and removes files meanwhile
            total += path.stat().st_size
    return total
