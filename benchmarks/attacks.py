"""What one hostile or greedy client may do to a service, over raw sockets: threads that go on until told to stop."""

import base64
import http.client
import random
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from app.audio.ffmpeg import find_ffmpeg
from benchmarks.plan import Plan

GREEDY = "127.0.0.1"
"""Where it comes from: Linux has all of 127.0.0.0/8."""
AT_ONCE = 16
"""As many as the service has places for by default."""
_SLOW_BYTES_PER_S = 11_000
"""Above the least rate that is taken (VAD_BODY_MIN_RATE_KBPS), so that nothing ends it early."""
_READ_BYTES_PER_S = 130_000
"""Of a client that reads its answer slowly, and never stops."""
_FLOOD_BYTES = 1 << 18
"""Of frames that are sent with one call."""
_PING, _BINARY, _PART, _END = 0x89, 0x82, 0x02, 0x00
"""First bytes of frames (RFC 6455, 5.2): a ping, a message, the beginning of one, and a part that is not its last."""

Attack = Callable[[int, threading.Event], list[threading.Thread]]
"""Begins against a port, and ends when the event is set."""


def slow_and_long(path: Path) -> Attack:
    """Uploads that trickle, beside hours of silence in some kilobytes."""

    def attack(port: int, over: threading.Event) -> list[threading.Thread]:
        return [_thread(_trickle, port, over) for _ in range(AT_ONCE)] + again_and_again(path, "")(port, over)

    return attack


def again_and_again(path: Path, query: str, *, count: int = AT_ONCE, addresses: int = 1) -> Attack:
    """So many at a time of the same request, from as many addresses."""

    def attack(port: int, over: threading.Event) -> list[threading.Thread]:
        body = path.read_bytes()
        return [
            _thread(
                _ask_again,
                port,
                f"/vad{query}",
                body,
                f"127.0.1.{number % addresses}" if addresses > 1 else GREEDY,
                over,
            )
            for number in range(count)
        ]

    return attack


def bad_files(path: Path) -> Attack:
    """One good file and 63 bad ones with long names, in one call."""

    def attack(port: int, over: threading.Event) -> list[threading.Thread]:
        parts = [("good.wav", path.read_bytes())] + [
            ("会议录音" * 15 + f"{number}.wav", b"no audio") for number in range(63)
        ]
        body = b"".join(
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="'
            + name.encode()
            + b'"\r\n\r\n'
            + data
            + b"\r\n"
            for name, data in parts
        )
        head = {"Content-Type": "multipart/form-data; boundary=x"}
        return [_thread(_ask_again, port, "/vad?format=csv", body + b"--x--\r\n", GREEDY, over, head) for _ in range(4)]

    return attack


def frames(first: bytes, flood: bytes, *, reads: bool = True, count: int = 8) -> Attack:
    """WebSockets that pour frames, and come again when they are closed. `first`: sent once, before them."""

    def pour(port: int, over: threading.Event) -> None:
        while not over.is_set():
            with suppress(OSError), _stream(port, "/vad/stream") as connection:
                connection.sendall(first)
                if reads:
                    _thread(_drain, connection)
                while not over.is_set():
                    connection.sendall(flood)

    return lambda port, over: [_thread(pour, port, over) for _ in range(count)]


def empty_pings() -> Attack:
    return frames(b"", _frame(_PING) * (_FLOOD_BYTES // 6))


def full_pings() -> Attack:
    """Whose answers nobody reads."""
    return frames(b"", _frame(_PING, bytes(125)) * (_FLOOD_BYTES // 131), reads=False)


def parts_of_a_byte() -> Attack:
    return frames(_frame(_PART), _frame(_END, b"x") * (_FLOOD_BYTES // 7))


def idle_streams(path: str, count: int) -> Attack:
    """Streams on which nothing comes, or one byte."""

    def hold(port: int, over: threading.Event) -> None:
        held: list[socket.socket] = []
        while not over.wait(0.002 if len(held) < count else 0.2):
            with suppress(OSError):
                held.append(_stream(port, path))
                held[-1].sendall(_frame(_BINARY, b"\x1a"))
        for connection in held:
            connection.close()

    return lambda port, over: [_thread(hold, port, over)]


def half_heads(count: int) -> Attack:
    """Connections with half a head, opened anew when they are closed."""

    def hold(port: int, over: threading.Event) -> None:
        held: list[socket.socket] = []
        while not over.is_set():
            with suppress(OSError):
                connection = _connect(port)
                connection.sendall(b"POST /vad HTTP/1.1\r\nHost: x\r\n")
                held.append(connection)
            if len(held) > count:
                held.pop(0).close()
                over.wait(0.01)
        for connection in held:
            connection.close()

    return lambda port, over: [_thread(hold, port, over)]


def slow_readers(path: Path, query: str) -> Attack:
    """Clients that read a long answer at a modem's rate."""

    def read(port: int, over: threading.Event) -> None:
        body = path.read_bytes()
        while not over.is_set():
            with suppress(OSError), socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
                connection.settimeout(5)
                connection.bind((GREEDY, 0))
                connection.connect(("127.0.0.1", port))
                connection.sendall(_post(f"/vad{query}", body))
                while connection.recv(_READ_BYTES_PER_S // 10) and not over.wait(0.1):
                    pass

    return lambda port, over: [_thread(read, port, over) for _ in range(2 * AT_ONCE)]


# ---- what is sent


def silence(plan: Plan, name: str, channels: int, seconds: int) -> Path:
    """FLAC at its lowest rate: a few hundred bytes a minute."""
    path = plan.audio_folder / f"silence-{name}-{seconds}s.flac"
    if not path.is_file():
        part = path.with_name(f"part-{path.name}")
        minute = np.zeros((4_000 * 60, channels), np.int16)
        with soundfile.SoundFile(part, "w", 4_000, channels, "PCM_16", format="FLAC") as out:
            for _ in range(seconds // 60):
                out.write(minute)
        part.rename(path)
    return path


def hum(plan: Plan, seconds: int) -> Path:
    """FLAC of two channels at 48 kHz, hardly audible and hardly any bytes: a block of it takes much memory."""
    path = plan.audio_folder / f"hum-{seconds}s.flac"
    if not path.is_file():
        part = path.with_name(f"part-{path.name}")
        minute = np.tile(np.repeat(np.array([[1, 1], [-1, -1]], np.int16), 240, axis=0), (100 * 60, 1))
        with soundfile.SoundFile(part, "w", 48_000, 2, "PCM_16", format="FLAC") as out:
            for _ in range(seconds // 60):
                out.write(minute)
        part.rename(path)
    return path


def made_by_ffmpeg(plan: Plan, name: str, *options: str) -> Path:
    """A file of noise. Raises LookupError where there is no ffmpeg."""
    path, ffmpeg = plan.audio_folder / name, find_ffmpeg(None)
    if ffmpeg is None:
        raise LookupError("needs ffmpeg")
    if not path.is_file():
        part = path.with_name(f"part-{name}")
        command = [
            str(ffmpeg),
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "anoisesrc=d=60:r=48000:a=0.3",
            *options,
            str(part),
        ]
        subprocess.run(command, check=True)
        part.rename(path)
    return path


def leaping(plan: Plan, hours: int) -> Path:
    """Seconds of sound, with hours of pause in their time stamps."""
    whole = made_by_ffmpeg(plan, "eight-seconds.mka", "-t", "8", "-c:a", "flac")
    path = plan.audio_folder / f"leap-{hours}h.mka"
    if not path.is_file():
        part = path.with_name(f"part-{path.name}")
        leap = f"setts=ts=if(gt(PTS*TB\\,3)\\,PTS+{hours * 3600}/TB\\,PTS)"
        command = [
            str(find_ffmpeg(None)),
            "-v",
            "error",
            "-y",
            "-i",
            str(whole),
            "-bsf:a",
            leap,
            "-c",
            "copy",
            str(part),
        ]
        subprocess.run(command, check=True)
        part.rename(path)
    return path


# ---- sockets


def _connect(port: int, address: str = GREEDY) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 2, source_address=(address, 0))


def _stream(port: int, path: str) -> socket.socket:
    """A WebSocket, past its handshake. Raises OSError where it is refused."""
    connection = _connect(port)
    key = base64.b64encode(random.randbytes(16))
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: ".encode()
        + key
        + b"\r\n\r\n"
    )
    if b" 101 " not in connection.recv(4_096):
        connection.close()
        raise ConnectionRefusedError
    return connection


def _frame(first: int, payload: bytes = b"") -> bytes:
    return struct.pack("!BB", first, 0x80 | len(payload)) + bytes(4) + payload


def _post(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _drain(connection: socket.socket) -> None:
    with suppress(OSError):
        while connection.recv(1 << 20):
            pass


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def _trickle(port: int, over: threading.Event) -> None:
    with suppress(OSError), _connect(port) as connection:
        connection.sendall(b"POST /vad HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        while not over.wait(0.1):
            connection.sendall(bytes(_SLOW_BYTES_PER_S // 10))


def _ask_again(
    port: int, path: str, body: bytes, address: str, over: threading.Event, headers: dict[str, str] | None = None
) -> None:
    while not over.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, source_address=(address, 0))
        # Closed when the siege is over, whatever its answer still waits for.
        _thread(_cut_when, over, connection)
        started = time.monotonic()
        with suppress(OSError, http.client.HTTPException):
            connection.request("POST", path, body, headers or {})
            connection.getresponse().read()
        connection.close()
        over.wait(max(0.0, 0.2 - (time.monotonic() - started)))


def _cut_when(over: threading.Event, connection: http.client.HTTPConnection) -> None:
    over.wait()
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
