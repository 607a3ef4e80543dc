"""The adapters in `examples/`, with the packages that they are for, against a real server."""

import asyncio
import base64
import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile
from websockets.sync.client import connect

from tests.live.client import PATIENCE_S, file_pairs, s16, wav
from tests.server import RunningServer
from tests.signals import bursts

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
PCM = s16(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]))
TELEPHONE = s16(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)])[::2])


def ws(server: RunningServer) -> str:
    return server.url.replace("http", "ws")


@contextmanager
def bridge(name: str, *arguments: str) -> "Iterator[tuple[int, subprocess.Popen[str]]]":
    """A bridge in a process of its own, and its port."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on "), (line, process.stderr and process.stderr.read())
            yield int(line.split()[-1]), process
        finally:
            process.terminate()


def told(process: "subprocess.Popen[str]", count: int) -> list[str]:
    """The next lines that it prints."""
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def telephone_pairs(server: RunningServer, **raw: Any) -> list[list[int]]:
    return file_pairs(server, TELEPHONE, sample_rate=8_000, preset="telephone", **raw)


# ---- telephony


def test_twilio(server: RunningServer) -> None:
    """As Twilio's media streams are documented: `connected`, `start`, `media` …, `stop`."""
    expected = file_pairs(server, MULAW, encoding="mulaw", sample_rate=8_000, preset="telephone")
    with (
        bridge("twilio_bridge.py", "0", ws(server)) as (port, process),
        connect(f"ws://127.0.0.1:{port}", proxy=None) as call,
    ):
        call.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        call.send(json.dumps({"event": "start", "sequenceNumber": "1", "start": {"streamSid": "MZ1"}}))
        for at in range(0, len(MULAW), 160):
            payload = base64.b64encode(MULAW[at : at + 160]).decode()
            call.send(json.dumps({"event": "media", "media": {"track": "inbound", "payload": payload}}))
        cleared = [json.loads(call.recv(timeout=PATIENCE_S)) for _ in expected]
        call.send(json.dumps({"event": "stop"}))
        turns = told(process, len(expected))
    assert cleared == [{"event": "clear", "streamSid": "MZ1"}] * 2
    assert turns == [f"turn {start} {end}" for start, end in expected]


@pytest.mark.parametrize("ending", [b"\x00\x00\x00", b""], ids=["hung up", "gone"])
def test_audiosocket(server: RunningServer, ending: bytes) -> None:
    """As Asterisk's res_audiosocket sends it: the call's UUID, 20 ms of signed linear at a time, then the end."""
    expected, name = telephone_pairs(server, encoding="pcm_s16le"), uuid.uuid4()
    with bridge("audiosocket_bridge.py", "0", ws(server)) as (port, process):
        with socket.create_connection(("127.0.0.1", port)) as call:
            call.sendall(b"\x01\x00\x10" + name.bytes)
            for at in range(0, len(TELEPHONE), 320):
                piece = TELEPHONE[at : at + 320]
                call.sendall(b"\x10" + len(piece).to_bytes(2, "big") + piece)
            call.sendall(ending)
            call.shutdown(socket.SHUT_WR)
        assert told(process, len(expected)) == [f"{name} {start} {end}" for start, end in expected]


def encoded_mulaw() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, bursts(10.0, [(2.0, 4.0), (6.0, 8.0)])[::2], 8_000, format="RAW", subtype="ULAW")
    return file.getvalue()


MULAW = encoded_mulaw()


@pytest.mark.parametrize("name", ["twilio_bridge.py", "audiosocket_bridge.py"])
def test_a_bridge_without_a_service_says_so(name: str) -> None:
    with bridge(name, "0", "ws://127.0.0.1:9") as (port, process):
        if name == "twilio_bridge.py":
            with connect(f"ws://127.0.0.1:{port}", proxy=None):
                pass
        else:
            with socket.create_connection(("127.0.0.1", port)) as call:
                call.sendall(b"\x10\x00\x02\0\0")
        assert process.stderr is not None
        assert process.stderr.readline().startswith("no answer from ws://127.0.0.1:9: ")


# ---- Wyoming


@pytest.mark.filterwarnings("ignore:'audioop' is deprecated:DeprecationWarning")  # theirs, with a way out in 3.13
async def test_wyoming(server: RunningServer) -> None:
    pytest.importorskip("wyoming", reason="the package wyoming is not installed")
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncTcpClient
    from wyoming.info import Describe, Info
    from wyoming.vad import VoiceStarted, VoiceStopped

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(EXAMPLES / "wyoming_vad.py"), f"tcp://127.0.0.1:{port}", ws(server)]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        client = AsyncTcpClient("127.0.0.1", port)
        await connected(client)
        await client.write_event(Describe().event())
        assert Info.is_type((await heard(client)).type)
        expected = file_pairs(server, wav(PCM))
        for _ in range(2):  # a satellite sends one stream after the other
            await client.write_event(AudioStart(16_000, 2, 1).event())
            for at in range(0, len(PCM), 2_048):
                await client.write_event(AudioChunk(16_000, 2, 1, PCM[at : at + 2_048]).event())
            await client.write_event(AudioStop().event())
            events = [await heard(client) for _ in range(2 * len(expected))]
            starts = [VoiceStarted.from_event(event).timestamp for event in events[0::2]]
            stops = [VoiceStopped.from_event(event).timestamp for event in events[1::2]]
            assert [VoiceStarted.is_type(event.type) for event in events] == [True, False] * len(expected)
            assert [list(pair) for pair in zip(starts, stops, strict=True)] == expected
        await client.disconnect()
    finally:
        process.terminate()
        await process.wait()


async def connected(client: Any) -> Any:
    for _ in range(PATIENCE_S * 10):
        with contextlib.suppress(OSError):
            return await client.connect()
        await asyncio.sleep(0.1)
    raise AssertionError("the bridge does not listen")


async def heard(client: Any) -> Any:
    return await asyncio.wait_for(client.read_event(), PATIENCE_S)


# ---- frameworks of voice agents


def packaged(script: str, server: RunningServer, package: str) -> Any:
    """What a program prints that uses an example and its package, in the frameworks' own environment."""
    python = ROOT / os.environ.get("VAD_AGENTS", ".agents") / "bin" / "python"
    found = python.is_file() and subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False)
    if not found or found.returncode:
        pytest.skip(f"{package} is not here (make agents)")
    ended = subprocess.run(
        [python, "-c", script, ws(server)],
        input=PCM, capture_output=True, cwd=EXAMPLES, timeout=4 * PATIENCE_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout.splitlines()[-1])


PIPECAT = """
import asyncio, json, sys
from pipecat_vad import ServiceVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams

async def main():
    params = VADParams(start_secs=0.1, stop_secs=0.2, min_volume=0)
    analyzer = ServiceVADAnalyzer(sys.argv[1], model=NAME, params=params)
    analyzer.set_sample_rate(16000)
    pcm, states = sys.stdin.buffer.read(), []
    for at in range(0, len(pcm), 640):
        state = (await analyzer.analyze_audio(pcm[at : at + 640])).name
        if not states or states[-1][0] != state:
            states.append((state, at // 32))
    await analyzer.cleanup()
    print(json.dumps(states))

asyncio.run(main())
"""


@pytest.mark.full
def test_pipecat(server: RunningServer) -> None:
    name = server.get("/models").json()["models"][0]["name"]
    states = packaged(PIPECAT.replace("NAME", repr(name)), server, "pipecat")
    assert [state for state, _ in states] == ["QUIET", *["STARTING", "SPEAKING", "STOPPING", "QUIET"] * 2]
    for (_, starting), (_, stopping), burst in zip(states[1::4], states[3::4], (2_000, 6_000), strict=True):
        assert abs(starting - burst - 60) <= 60
        assert abs(stopping - burst - 2_060) <= 60


LIVEKIT = """
import asyncio, json, sys
from livekit import rtc
from livekit.agents.vad import VADEventType
from livekit_vad import ServiceVAD

async def main():
    service = ServiceVAD(sys.argv[1], model=NAME, mode="endpoint", max_end_silence_time=5000)
    stream, pcm, told = service.stream(), sys.stdin.buffer.read(), []
    def push(pcm):
        for at in range(0, len(pcm), 640):
            piece = pcm[at : at + 640]
            stream.push_frame(rtc.AudioFrame(piece, 16000, 1, len(piece) // 2))
    push(pcm[:144000])
    async for event in stream:
        if event.type == VADEventType.INFERENCE_DONE and event.timestamp >= 4.3:
            break
        if event.type == VADEventType.START_OF_SPEECH:
            told.append(["start", event.timestamp, 0, event.speaking])
    service.update_options(max_end_silence_time=300)
    await asyncio.sleep(1)
    push(pcm[144000:])
    stream.end_input()
    async for event in stream:
        if event.type != VADEventType.INFERENCE_DONE:
            kind = "start" if event.type == VADEventType.START_OF_SPEECH else "end"
            told.append([kind, event.timestamp, sum(len(bytes(frame.data)) for frame in event.frames), event.speaking])
    await stream.aclose()
    print(json.dumps(told))

asyncio.run(main())
"""


@pytest.mark.full
def test_livekit(server: RunningServer) -> None:
    name = server.get("/models").json()["models"][0]["name"]
    events = packaged(LIVEKIT.replace("NAME", repr(name)), server, "livekit.agents")
    expected = file_pairs(server, wav(PCM), max_end_silence_time=300)
    assert [event[0] for event in events] == ["start", "end"] * 2
    times = [round(1000 * event[1]) for event in events]
    assert (times[0], times[2:]) == (expected[0][0], expected[1])
    assert 4_000 < times[1] <= 4_500  # there the options changed, and the silence had been long enough
    assert [event[2] for event in events[1::2]] == [(times[at + 1] - times[at]) * 32 for at in (0, 2)]
    assert [event[3] for event in events] == [True, False] * 2


def test_every_adapter_says_how_it_is_used() -> None:
    for name in ("pipecat_vad", "livekit_vad", "twilio_bridge", "audiosocket_bridge", "wyoming_vad"):
        text = (EXAMPLES / f"{name}.py").read_text()
        assert re.search(r"usage:|ServiceVAD", text.split('"""')[1]), name
        assert len(text.splitlines()) <= 130, name
