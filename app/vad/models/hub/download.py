"""A model's files from the hub into ModelScope's cache, by the hub's own client, in bounded time.

The client retries by itself for longer than a start may take, and has no way to be stopped. So it runs in a child
process that is ended when nothing arrives for `HubPatience.stall_s`; while bytes arrive a download may take as long as
it needs. The child tells of each of the hub's answers as it comes, so that whoever is told of a failure hears what the
hub said, whichever of the two gave up first.
"""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_CLIENT = Path(__file__).with_name("client.py")

_RETRIES: Mapping[str, str] = {
    # Settings of the client's own, which the environment may set otherwise. It tries as often as by default, which a
    # line that breaks now and then needs, but waits a second between two attempts and not up to a minute: what the hub
    # says to the last one is then known before `stall_s` is over.
    "MODELSCOPE_REPO_TREE_PAGE_RETRY_MAX_DELAY_SECONDS": "1",
    "MODELSCOPE_DOWNLOAD_RETRY_MAX_DELAY_SECONDS": "1",
    # These waits cannot be shortened: they double from half a second, so three retries take 3 s and five take 15 s.
    "MODELSCOPE_API_MAX_RETRIES": "3",
}


class DownloadFailed(Exception):
    """The hub did not give the model; the message says why in a few words."""


@dataclass(frozen=True, slots=True)
class HubPatience:
    """How long the hub is waited for, in seconds.

    A start without a hub is told of it in less than 15 s: `connect_s`, `stall_s` and what the client takes to start
    (a fraction of a second on a machine that is not busy with something else) stay below.
    """

    connect_s: float = 5.0
    """Longest wait for a connection, the name's look-up and all its addresses together: a resolver asks a second time
    after 5 s, and one that has not answered by then seldom does."""
    address_s: float = 2.0
    """Longest wait for one of its addresses: a lost first packet is sent again after 1 s. Short enough that two dead
    addresses leave time for a third."""
    stall_s: float = 7.0
    """Longest that a download may stand still: more than the client waits between attempts, and as much as the promise
    leaves."""
    begin_s: float = 60.0
    """Longest that the client may take to start. That is this machine's time, not the hub's, and no judgement on it:
    a start of the service on a machine so slow takes minutes anyway."""


def download(
    model: str,
    revision: str | None,
    patterns: Sequence[str],
    *,
    endpoint: str,
    cache_dir: Path,
    places: Sequence[Path],
    patience: HubPatience,
) -> None:
    """Fetch the files that match `patterns`; `places` are the directories of the cache where the client may put them.

    Raises `DownloadFailed`. What arrived is as the hub's listing states it (the client checks size and SHA-256).
    """
    check_reachable(endpoint, patience)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadFailed(f"{cache_dir} cannot be made ({error.strerror or error})") from None
    environment = {
        **_RETRIES,
        **os.environ,
        # As the client has it without MODELSCOPE_CACHE set: absolute, so that child and parent agree.
        "MODELSCOPE_CACHE": str(cache_dir.resolve()),
        "MODELSCOPE_ENDPOINT": endpoint,
    }
    # By path, not `-m`: that would take another package named `app` where the service happens to be started.
    command = [sys.executable, str(_CLIENT), model, revision or "", *patterns]
    told, gave_up = _Told(), ""
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        listening = threading.Thread(target=told.listen, args=(child.stdout,), daemon=True)
        listening.start()
        try:
            gave_up = _watch(child, told, places, patience)
        finally:
            child.kill()
            listening.join()  # its pipe ends with it; then all it had to say has been heard
    if gave_up or child.returncode != 0:
        reason = gave_up or told.failure or f"the download ended with status {child.returncode}"
        raise DownloadFailed(told.with_answer(reason))


def check_reachable(endpoint: str, patience: HubPatience) -> None:
    """Raises `DownloadFailed` when nothing answers at the endpoint in time."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError as error:
        raise DownloadFailed(f"this is not an address ({error})") from None
    if getproxies().keys() & {parts.scheme, "all"} and not proxy_bypass(host):
        return  # the proxy, not this machine, knows whether the hub is there
    answer: queue.SimpleQueue[str] = queue.SimpleQueue()
    # Looking up a name has no time limit of its own, so it is waited for from outside.
    threading.Thread(target=lambda: answer.put(_knock(host, port, patience.address_s)), daemon=True).start()
    try:
        reason = answer.get(timeout=patience.connect_s)
    except queue.Empty:
        reason = f"no answer within {patience.connect_s:g} s"
    if reason:
        raise DownloadFailed(f"cannot be reached ({reason})")


def _knock(host: str, port: int, limit_s: float) -> str:
    """Why no connection can be made; empty when one can."""
    try:
        socket.create_connection((host, port), timeout=limit_s).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: what cannot be a host's name
        return str(getattr(error, "strerror", None) or error)
    return ""


@dataclass(slots=True)
class _Told:
    """What the child has told so far; see `client.py`."""

    begun: threading.Event = field(default_factory=threading.Event)
    failure: str = ""
    answers: dict[str, int] = field(default_factory=dict)
    """The status last given for each thing asked for, the latest one last."""

    def listen(self, lines: Iterable[bytes]) -> None:
        """Until the child has ended."""
        for line in lines:
            with contextlib.suppress(ValueError):  # something else that has found the pipe, such as a site's own start
                self._take(json.loads(line))

    def _take(self, message: object) -> None:
        match message:
            case {"begun": True}:
                self.begun.set()
            case {"failure": str(reason)}:
                self.failure = reason
            case {"status": int(status), "of": str(asked_for)}:
                self.answers.pop(asked_for, None)
                self.answers[asked_for] = status

    def with_answer(self, reason: str) -> str:
        """A reason with the answer of the hub that it may be due to, unless it says so itself."""
        if not self.answers:
            return f"{reason}; the hub has answered nothing" if self.begun.is_set() else reason
        refused = [(status, asked_for) for asked_for, status in self.answers.items() if status >= 400]
        if not refused or str(refused[-1][0]) in reason:
            return reason
        status, asked_for = refused[-1]
        return f"{reason}; the hub's last answer for {asked_for} was {status}"


def _watch(child: "subprocess.Popen[bytes]", told: _Told, places: Sequence[Path], patience: HubPatience) -> str:
    """Wait for the child while bytes arrive; why not any longer, or nothing when it has ended.

    Only more than ever before is progress, for a client that begins anew again and again gets nowhere. Once it may:
    where a hub does not resume, what an earlier start left is thrown away.
    """
    most, since, begun_anew = _size_of(places), time.monotonic(), False
    while child.poll() is None and not told.begun.wait(0.05):
        if time.monotonic() - since > patience.begin_s:
            return f"its client did not start within {patience.begin_s:g} s"
    since = time.monotonic()
    while child.poll() is None:
        size = _size_of(places)
        if size < most and not begun_anew:
            most, since, begun_anew = size, time.monotonic(), True
        elif size > most:
            most, since = size, time.monotonic()
        elif time.monotonic() - since > patience.stall_s:
            return f"the download stood still for {patience.stall_s:g} s"
        time.sleep(0.1)
    return ""


def _size_of(places: Sequence[Path]) -> int:
    total = 0
    for path in (path for place in places for path in place.rglob("*")):
        with contextlib.suppress(OSError):  # the child renames and removes files meanwhile
            total += path.stat().st_size
    return total
