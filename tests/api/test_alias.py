"""`POST /v1/audio/speech/timestamps`, as clients of speaches send it."""

from pathlib import Path

import httpx
import pytest

from tests.server import RunningServer, local_server

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


@pytest.mark.parametrize("name", ["silero_vad_v5", "Systran/faster-whisper", "gpt-4o", "", "a b\nc"])
def test_an_unknown_models_name_means_the_default_one(server: RunningServer, speech_like: Path, name: str) -> None:
    answer = ask(server, speech_like, model=name)
    assert (answer.status_code, answer.json()) == (200, ask(server, speech_like).json())


def test_a_name_with_silero_in_it_means_silero_where_it_is_loaded(
    small_model: Path, speech_like: Path, tmp_path: Path
) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    with local_server(small_model, tmp_path, {"VAD_MODELS": "silero"}) as server:
        with server.client() as client:
            named = client.post("/vad?mode=tight&model=silero", content=speech_like.read_bytes()).json()
            default = client.post("/vad?mode=tight", content=speech_like.read_bytes()).json()
        assert named["segments"] != default["segments"]
        for name, meant in (("silero_vad_v5", named), ("gpt-4o", default), ("silero", named)):
            found = ask(server, speech_like, model=name).json()
            assert found == [{"start": each["start_ms"], "end": each["end_ms"]} for each in meant["segments"]]


def test_an_option_of_another_mode_is_refused(server: RunningServer, speech_like: Path) -> None:
    answer = ask(server, speech_like, max_end_silence_time="500")
    assert (answer.status_code, answer.json()["option"]) == (422, "max_end_silence_time")


def test_a_wrong_value_is_named(server: RunningServer, speech_like: Path) -> None:
    answer = ask(server, speech_like, threshold="2")
    assert (answer.status_code, answer.json()["code"], answer.json()["option"]) == (422, "invalid_option", "threshold")


def test_no_speech_is_an_empty_array(server: RunningServer, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    silence.write_bytes(b"RIFF\x24\x7d\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00"
                        b"\x02\x00\x10\x00data\x00\x7d\x00\x00" + b"\x00" * 32_000)  # fmt: skip
    assert ask(server, silence).json() == []


@pytest.mark.parametrize("mode", ["endpoint", "smoothed"])
def test_another_mode_is_refused(server: RunningServer, speech_like: Path, mode: str) -> None:
    refused = ask(server, speech_like, mode=mode)
    assert (refused.status_code, refused.json()["option"]) == (422, "mode")
    assert ask(server, speech_like, mode="tight").json() == ask(server, speech_like).json()
