"""Heads of answers stay small whatever was sent: nginx takes 4 KiB, node 16, aiohttp 8 a line."""

import json
import shutil
import socket
import subprocess
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from app.answer import PROBLEMS_HEADER
from app.formats.excerpts import HEADER_BYTES
from tests.live.client import s16, wav
from tests.server import RunningServer
from tests.signals import bursts

NGINX_BYTES = 4_096
LONG = "会议录音" * 16
"""The longest name that is kept; and each letter is nine bytes when it is percent-encoded."""
MANY_BAD = [("file", (f"{LONG[:61]}{number:02}.wav", b"no audio")) for number in range(63)]


def head_of(server: RunningServer, path: str, body: bytes, headers: bytes = b"") -> bytes:
    """As it is on the wire."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode() + headers + b"\r\n" + body
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65_536)
    return answer.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("form", ["csv", "rttm", "srt"])
def test_many_bad_files_are_counted(server: RunningServer, speech_like: Path, form: str) -> None:
    files = [("file", ("good.wav", speech_like.read_bytes())), *MANY_BAD]
    answer = server.post("/vad", params={"format": form}, files=files)
    assert answer.status_code == 200
    told = answer.headers[PROBLEMS_HEADER]
    assert len(told) <= HEADER_BYTES
    *shown, last = told.split(", ")
    assert shown
    assert all(entry.endswith("=unsupported_audio") and entry.isascii() for entry in shown)
    assert last == f"and {63 - len(shown)} more"
    assert sum(len(f"{name}: {value}\r\n") for name, value in answer.headers.items()) < NGINX_BYTES - 400


def test_few_bad_files_are_all_named(server: RunningServer, speech_like: Path) -> None:
    files = [("file", ("good.wav", speech_like.read_bytes())), ("file", ("a b=c, d.wav", b"x")), MANY_BAD[0]]
    told = server.post("/vad", params={"format": "csv"}, files=files).headers[PROBLEMS_HEADER]
    assert told.split(", ")[0] == "a_b_c_d=unsupported_audio"
    assert told.count("unsupported_audio") == 2
    assert "more" not in told


def test_the_longest_head_of_one_answer(server: RunningServer) -> None:
    """A name of 64 letters, and a map with hundreds of stretches, of which the count alone is told."""
    silent = np.zeros(8_000 * 3, np.float32)
    sound = np.concatenate([bursts(240.0, [(start, start + 1.0) for start in range(1, 240, 3)], 8_000), silent])
    disposition = f"Content-Disposition: attachment; filename*=UTF-8''{LONG}.wav\r\n".encode()
    for stretches in (1, 5, 30, 80):
        body = wav(s16(sound[: stretches * 24_000 + 16_000]), 8_000)
        head = head_of(server, "/vad?format=wav&time_map=true", body, disposition)
        assert b" 200 " in head
        assert b"X-VAD-Time-Map-Stretches" in head or b"x-vad-time-map-stretches" in head
        assert len(head) < NGINX_BYTES - 400


async def test_aiohttp_reads_it(server: RunningServer, speech_like: Path) -> None:
    form = aiohttp.FormData()
    for name, (filename, content) in [("file", ("good.wav", speech_like.read_bytes())), *MANY_BAD]:
        form.add_field(name, content, filename=filename)
    async with aiohttp.ClientSession() as session, session.post(f"{server.url}/vad?format=csv", data=form) as answer:
        assert answer.status == 200
        assert "more" in answer.headers[PROBLEMS_HEADER]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_node_reads_it(server: RunningServer, speech_like: Path, tmp_path: Path) -> None:
    program = """
        import { readFileSync } from "node:fs";
        const [url, good, names] = process.argv.slice(1);
        const form = new FormData();
        form.append("file", new Blob([readFileSync(good)]), "good.wav");
        for (const name of JSON.parse(names)) form.append("file", new Blob(["no audio"]), name);
        const answer = await fetch(`${url}/vad?format=csv`, { method: "POST", body: form });
        console.log(answer.status, answer.headers.get("x-vad-problems"));
    """
    names = json.dumps([name for _, (name, _) in MANY_BAD])
    command = ["node", "--input-type=module", "-e", program, server.url, str(speech_like), names]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("200 ")
    assert said.strip().endswith("more")
