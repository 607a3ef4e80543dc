"""`fsmn-vad` in a process of its own that is there at once: forked from one that has imported everything already.

To import torch takes two seconds of a core, and a suite that starts the command fifty times spends more on that than on
all its audio. What is started here has a process id, signals, pipes, an exit status and memory of its own; it only has
not imported anything itself, so tests of what is imported, and some others, start the command as anybody does.

    Forked(["serve"], env=…, cwd=…, stdout=…)      as subprocess.Popen(["fsmn-vad", "serve"], …)
    run("detect", "a.wav", env=…)                  as subprocess.run(["fsmn-vad", "detect", "a.wav"], …)
    write_script(folder / "fsmn-vad")              a command for shells

The process forked from listens on a socket. With each start come the arguments, the environment and three descriptors;
it answers with the process id and in the end with the exit status. It ends with the tests: its standard input is a pipe
of theirs.
"""

import atexit
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
IMPORTED = ("app.main", "app.runtime", "app.cli.local", "app.server.serve", "soundfile",
            "app.vad.models.fsmn.network", "imageio_ffmpeg", "yaml", "typer.main", "shellingham")  # fmt: skip
"""What serving imports sooner or later. No more, because tests look at what is loaded; and not the commands, which name
what plug-ins bring when they are imported."""
_INT = struct.Struct("i")


# ---- in the process that is forked from


def _listen(listening: socket.socket) -> None:
    """Start what is asked for until standard input ends."""
    import gc
    import importlib

    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that the first collection in a forked process copies no pages
    while 0 not in (ready := select.select([listening.fileno(), 0], [], [], 1.0)[0]):
        if ready:
            connection, _ = listening.accept()
            with connection:
                if os.fork() == 0:
                    _look_after(connection)
        _reap()
    _reap()  # the time of what has ended counts


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _look_after(connection: socket.socket) -> NoReturn:
    """Fork once more, tell the process id, and the exit status when it has ended."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        size = _INT.unpack(data[: _INT.size])[0] + _INT.size
        while len(data) < size:
            data += connection.recv(size - len(data))
        asked = json.loads(data[_INT.size :])
        if (child := os.fork()) == 0:
            _become(asked, descriptors)
        for descriptor in (0, 1, 2, *descriptors):
            os.close(descriptor)
        connection.sendall(_INT.pack(child))
        connection.sendall(_INT.pack(os.waitpid(child, 0)[1]))
    finally:
        os._exit(0)


def _become(asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be `fsmn-vad` with these arguments, as `python -m app.cli` is."""
    import io
    import runpy
    import traceback

    status = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.closerange(3, 256)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.path[:0] = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each not in sys.path]
        sys.modules.update(dict.fromkeys(asked["without"]))
        sys.stdin = os.fdopen(0, closefd=False)
        for name, number in (("stdout", 1), ("stderr", 2)):
            errors = "strict" if number == 1 else "backslashreplace"
            binary = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
            stream = io.TextIOWrapper(binary, errors=errors, line_buffering=number == 2 or os.isatty(number))
            setattr(sys, name, stream)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["fsmn-vad", *asked["arguments"]]
        runpy.run_module("app.cli", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - as Python ends
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for each in (sys.stdout, sys.stderr):
            with suppress(Exception):
                each.flush()
        os._exit(status & 0xFF)


# ---- in the tests


@cache
def _address() -> str:
    """Where the process listens that is forked from. The first call starts it."""
    path = f"{tempfile.mkdtemp(prefix='forked-')}/socket"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VAD_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", "listen", str(listening.fileno())], cwd=ROOT, env=environment,
            stdin=subprocess.PIPE, pass_fds=[listening.fileno()],
        )  # fmt: skip
    _STARTED.append((process, Path(path).parent))
    return path


_STARTED: list[tuple["subprocess.Popen[bytes]", Path]] = []
"""The process that is forked from, and its folder."""


@atexit.register
def end() -> None:
    """End the process that is forked from, which goes by itself when what was started has ended. Nothing can be started
    after it."""
    while _STARTED:
        process, folder = _STARTED.pop()
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


class Forked:
    """As `subprocess.Popen`, of `fsmn-vad` with these arguments."""

    def __init__(
        self,
        arguments: "list[str]",
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = 1,
        stderr: int | IO[Any] = 2,
        address: str | None = None,
        without: Sequence[str] = (),
    ) -> None:
        """`address`: of the process to fork from, which is otherwise found or started. `without`: modules that cannot
        be imported."""
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address or _address())
        asked = {
            "arguments": arguments, "env": dict(os.environ if env is None else env), "cwd": str(cwd or Path.cwd()),
            "without": list(without),
        }  # fmt: skip
        data = json.dumps(asked).encode("utf-8", "surrogateescape")
        with Path(os.devnull).open("r+b") as nothing:
            given = [nothing if each == subprocess.DEVNULL else each for each in (stdin, stdout, stderr)]
            descriptors = [each if isinstance(each, int) else each.fileno() for each in given]
            socket.send_fds(self._connection, [_INT.pack(len(data))], descriptors)
        self._connection.sendall(data)
        self.pid = self._receive()

    def _receive(self) -> int:
        data = self._connection.recv(_INT.size, socket.MSG_WAITALL)
        if len(data) < _INT.size:
            raise RuntimeError("the process that is forked from has ended")
        number: int = _INT.unpack(data)[0]
        return number

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises subprocess.TimeoutExpired after `timeout` s."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("fsmn-vad", timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(self._receive())
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def run(
    *arguments: str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    cwd: Path | None = None,
    timeout: float = 60,
    without: Sequence[str] = (),
) -> "subprocess.CompletedProcess[bytes]":
    """As `subprocess.run(…, capture_output=True)`, with a pipe as standard input."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with os.fdopen(reading, "rb") as pipe:
            process = Forked([*arguments], env=env, cwd=cwd, stdin=pipe, stdout=out, stderr=err, without=without)
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            pipe.write(stdin)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        for file in (out, err):
            file.seek(0)
        assert process.returncode is not None
        return subprocess.CompletedProcess(["fsmn-vad", *arguments], process.returncode, out.read(), err.read())


def write_script(path: Path) -> None:
    """A command `fsmn-vad` for shells."""
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {Path(__file__)} start {_address()} "$@"\n')
    path.chmod(0o755)


def _start(address: str, arguments: list[str]) -> int:
    """Be a command in a shell: pass signals on, and end as the process does."""
    process = Forked(arguments, stdin=0, address=address)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: process.send_signal(number))
    status = process.wait()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        _listen(socket.socket(fileno=int(sys.argv[2])))
    else:
        sys.exit(_start(sys.argv[2], sys.argv[3:]))
