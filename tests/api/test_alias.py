"""`POST /v1/audio/speech/timestamps`, as clients of speaches send it."""

from pathlib import Path

import httpx
import pytest

from tests.server import RunningServer

PATH = "/v1/audio/speech/timestamps"


def ask(server: RunningServer, audio: Path, **fields: str) -> httpx.Response:
    with server.client() as client:
        # The parts' order and types are those of OpenAI's own client library.
        return client.post(
            PATH,
            data={"model": "silero_vad_v5", **fields},
            files={"file": (audio.name, audio.read_bytes(), "audio/wav")},
        )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"threshold": "0.75", "neg_threshold": "0.3"},
        {"min_speech_duration_ms": "500", "min_silence_duration_ms": "2500", "speech_pad_ms": "100"},
        {"max_speech_duration_s": "1"},
        {"max_speech_duration_s": "inf"},
    ],
)
def test_it_answers_what_tight_mode_finds(server: RunningServer, speech_like: Path, fields: dict[str, str]) -> None:
    bare = ask(server, speech_like, **fields).json()
    with server.client() as client:
        full = client.post("/vad", params={"mode": "tight", **fields}, content=speech_like.read_bytes()).json()
    assert bare == [{"start": found["start_ms"], "end": found["end_ms"]} for found in full["segments"]]
    assert len(bare) >= 1


def test_a_wrong_value_is_named(server: RunningServer, speech_like: Path) -> None:
    answer = ask(server, speech_like, threshold="2")
    assert (answer.status_code, answer.json()["code"], answer.json()["option"]) == (422, "invalid_option", "threshold")


def test_no_speech_is_an_empty_array(server: RunningServer, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    silence.write_bytes(b"RIFF\x24\x7d\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00"
                        b"\x02\x00\x10\x00data\x00\x7d\x00\x00" + b"\x00" * 32_000)  # fmt: skip
    assert ask(server, silence).json() == []
