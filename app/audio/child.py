"""A child process that may do next to nothing: read one file or a pipe, compute within limits, write to its pipes.

It has no input but what it is fed, no environment, an empty directory, and limits on memory, processor time, open files
and written files.
"""

import contextlib
import importlib.util
import io
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from app.audio.decode import AudioInfo, AudioLimits, Block, Decoder, Stop
from app.audio.facts import FileFacts
from app.audio.options import ENCODINGS
from app.vad.errors import InvalidAudio, UnsupportedAudio

_SHELL = "/bin/sh"
# The limits are set by the shell that becomes the program: setting them from outside would leave a moment without, and
# code between fork and exec is not safe in a process with threads. Lowering a limit fails only where a stricter one is
# in force already, or where the system has no such limit; neither is a reason to decode nothing.
_CONFINE = """
ulimit -v "$1" 2>/dev/null; ulimit -t "$2" 2>/dev/null
ulimit -n 32 2>/dev/null; ulimit -c 0 2>/dev/null; ulimit -f 0 2>/dev/null
shift 2; exec "$@"
"""
# A group of its own, so that all of it can be killed. Not a session where it need not be: Linux shares processors out
# among sessions first (autogroups), and a child's priority would count for nothing beside the service.
_OWN_GROUP: dict[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}
_NICE, _NICE_LATER, _LATER_S = 4, 10, 0.5
"""A child's priority, and that of one which is at it for longer: a clip is decoded by then. Who decodes hours leaves
processors to scoring, and to those who have little to decode; where nobody else wants them nothing changes."""
_LINE_BYTES = 4 << 10
"""What is kept of a line; no line that means something is longer."""
_STDERR_BYTES = 64 << 10
"""As much as a pipe holds on Linux."""
_PATIENCE_S = 5
"""For the thread that reads its stderr, which ends when the pipe does."""
_RUNNING: "WeakSet[ConfinedChild]" = WeakSet()
_RUNNING_LOCK = threading.Lock()
_SILK_RATE = 24_000
"""Hz. The decoder gives any rate up to this one, the highest that SILK codes."""
_SILK_PROGRAM = f"import sys, pysilk; pysilk.decode(open(sys.argv[1], 'rb'), sys.stdout.buffer, {_SILK_RATE})"
_PCM = ENCODINGS["pcm_s16le"]
_SILK_MISSING = (
    "this is SILK, as WeChat has it, which needs the package silk-python here (the extra `silk`): install it, or "
    "send the file as WAV"
)


def stop_children() -> None:
    """Kill every child of this process, which is about to end: whoever reads from one then gets to the end of it."""
    with _RUNNING_LOCK:
        children = list(_RUNNING)
    for child in children:
        child.kill()


class ConfinedChild:
    """A running program. One thread reads from it; any may close it."""

    def __init__(
        self,
        command: list[str],
        limits: AudioLimits,
        *,
        directory_beside: Path,
        listen: Callable[[str], None] = lambda line: None,
        fed: bool = False,
    ) -> None:
        """Start it.

        `directory_beside`: a file whose folder takes the child's directory, if it can be written; `listen`: called with
        every line of its stderr, one at a time; `fed`: whether its input is a pipe, which is for who asks for `pipes`.
        A child that writes nothing for `limits.child_silence_s` while somebody waits for it is killed.
        """
        self._silence_s, self._listen = limits.child_silence_s, listen
        self._directory: Path | None = _empty_directory(directory_beside.parent)
        confined = ["sh", str(limits.child_memory_mb << 10), str(limits.child_cpu_s), *command]
        try:
            self._process = subprocess.Popen(
                [_SHELL, "-c", _CONFINE, *confined],
                stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._directory,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                **_OWN_GROUP,
                close_fds=True,
                bufsize=0,
            )
        except BaseException:
            self.drop_directory()
            raise
        self.pid = self._process.pid
        """Of the program itself, which leads a process group of its own."""
        self._lower_priority(_NICE)
        self._later_at = time.monotonic() + _LATER_S
        self._stdout, self._stderr = _unbuffered(self._process.stdout), _unbuffered(self._process.stderr)
        self._line = b""
        """The beginning of a line of stderr whose end has not come."""
        self._listening, self._reading = threading.Lock(), threading.Lock()
        self._drain = threading.Thread(target=self._drain_stderr, name="decoder-stderr", daemon=True)
        self._drain.start()
        with _RUNNING_LOCK:
            _RUNNING.add(self)

    def pipes(self) -> tuple[io.FileIO, io.FileIO]:
        """Of a child that is fed: its input and its output, for an event loop; `read` is not to be used then."""
        return _unbuffered(self._process.stdin), self._stdout

    def read(self, size: int) -> bytearray:
        """`size` bytes of its output; fewer at the end, none after `close`."""
        output = bytearray(size)
        done, pipe = 0, select.poll()
        with self._reading, memoryview(output) as view:
            if not self._stdout.closed:
                pipe.register(self._stdout, select.POLLIN)
            while done < size and not self._stdout.closed:
                if time.monotonic() > self._later_at:
                    self._later_at = math.inf
                    self._lower_priority(_NICE_LATER)
                if not pipe.poll(self._silence_s * 1000):
                    self.kill()
                count = self._stdout.readinto(view[done:])
                if not count:
                    break
                done += count
        del output[done:]  # not a copy: an hour of samples passes here
        return output

    def catch_up(self) -> None:
        """Return when all has been listened to that it had written to stderr when this was called."""
        while self._read_stderr(wait=False):
            pass

    def finish(self) -> int:
        """After its output has ended: listen to the rest of its stderr, and return its exit status (negative: the
        signal that killed it)."""
        try:
            status = self._process.wait(self._silence_s)
        except subprocess.TimeoutExpired:  # it has closed its output, and stays
            self.kill()
            status = self._process.wait()
        self._drain.join(timeout=_PATIENCE_S)
        return status

    def drop_directory(self) -> None:
        """Remove its directory: a program that has started needs none, and then nothing at all is around it."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def kill(self) -> None:
        """End it if it runs; from any thread, any number of times. `close` has still to be called."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended in this very moment
                os.killpg(self._process.pid, signal.SIGKILL)

    def _lower_priority(self, nice: int) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(OSError):  # it ended in this very moment, or has a lower one already
                os.setpriority(os.PRIO_PGRP, self.pid, os.getpriority(os.PRIO_PROCESS, 0) + nice)

    def close(self) -> None:
        """Kill it if it runs, and give everything back."""
        self.kill()
        self._process.wait()
        with _RUNNING_LOCK:
            _RUNNING.discard(self)
        self._drain.join(timeout=_PATIENCE_S)
        with self._reading:
            self._stdout.close()
        self._stderr.close()
        self.drop_directory()

    def _drain_stderr(self) -> None:
        # Read to the end, or a talkative child would block.
        while self._read_stderr(wait=True):
            pass

    def _read_stderr(self, *, wait: bool) -> bool:
        """Read what it has written; False when that is nothing, and, if told to wait, only at the end."""
        # Whoever waits does so without the lock: somebody else may want to read what has just come.
        if not _readable(self._stderr, wait=wait):
            return False
        with self._listening:
            if not _readable(self._stderr, wait=False):
                return wait
            data = os.read(self._stderr.fileno(), _STDERR_BYTES)
            *lines, rest = (self._line + data).split(b"\n")
            self._line = rest[-_LINE_BYTES:]
            for line in lines if data else [*lines, rest]:
                self._listen(line[:_LINE_BYTES].decode(errors="replace").rstrip())
        return bool(data)


class SilkDecoder(Decoder):
    """A child that decodes one file."""

    name = "silk"

    def __init__(self, path: Path, limits: AudioLimits, facts: FileFacts, stop: Stop | None = None) -> None:
        """Raises `UnsupportedAudio` where the package is not installed."""
        if importlib.util.find_spec("pysilk") is None:
            raise UnsupportedAudio(_SILK_MISSING)
        super().__init__(AudioInfo(_SILK_RATE, 1, "SILK", ""), limits, None, facts)
        path = path.resolve()
        # Isolated: neither its environment nor the folder that it starts in has a say in what it imports.
        command = [sys.executable, "-I", "-B", "-c", _SILK_PROGRAM, str(path)]
        self._child = ConfinedChild(command, limits, directory_beside=path)
        if stop is not None:
            stop.when_stopped(self._child.kill)

    def _read(self, frames: int) -> Block:
        data = self._child.read(frames * _PCM.sample_bytes)
        self._child.drop_directory()
        if not data and not self.closed and self._child.finish():
            if self.decoded_frames == 0:
                raise InvalidAudio("the SILK file is damaged: nothing in it can be decoded")
            self.cut = self.cut or "it is damaged, and could not be decoded to its end"
        return _PCM.decode(bytes(data[: len(data) // 2 * 2])).reshape(-1, 1)

    def close(self) -> None:
        self.closed = True
        self._child.close()


def _readable(pipe: io.FileIO, *, wait: bool) -> bool:
    # Not select.select, which knows no descriptor beyond 1,023.
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(None if wait else 0))


def _empty_directory(parent: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="decode-", dir=parent))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="decode-"))


def _unbuffered(pipe: IO[bytes] | None) -> io.FileIO:
    if not isinstance(pipe, io.FileIO):
        raise TypeError("the child was started without a pipe, or with a buffered one")
    return pipe
