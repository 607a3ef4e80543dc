"""Every hostile file over HTTP: the exact status and code, nothing left behind, and the next request is served."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.vad.errors import AudioTooLong, InvalidAudio, NoAudio, UnsupportedAudio, VadError
from tests.attacks.corpus import BOMBS, CASES, LIMIT_S, Attack
from tests.server import RunningServer, local_server

ANSWERS: dict[type[VadError] | None, tuple[int, str | None]] = {
    None: (200, None),
    NoAudio: (400, "no_audio"),
    UnsupportedAudio: (415, "unsupported_audio"),
    InvalidAudio: (422, "invalid_audio"),
    AudioTooLong: (422, "audio_too_long"),
}
TOO_LONG = [attack for attack in BOMBS if attack.expected is AudioTooLong]


@pytest.fixture(scope="module")
def strict_server(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One that takes audio as long as the corpus presumes."""
    settings = {"VAD_MAX_AUDIO_HOURS": str(LIMIT_S / 3600)}
    with local_server(small_model, tmp_path_factory.mktemp("strict"), settings) as running:
        yield running


def sent(server: RunningServer, path: Path, *, raw: bool = False) -> httpx.Response:
    with server.client() as client:
        if raw:
            return client.post("/vad", content=path.read_bytes())
        return client.post("/vad", files={"file": (path.name, path.read_bytes())})


def answered(response: httpx.Response) -> tuple[int, str | None]:
    document: dict[str, Any] = response.json()
    return response.status_code, document.get("code")


def built(attack: Attack, folder: Path) -> Path:
    try:
        return attack.build(folder)
    except LookupError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("attack", [attack for attack in CASES if attack not in TOO_LONG], ids=str)
def test_the_answer_and_the_next_one(attack: Attack, server: RunningServer, speech_like: Path, tmp_path: Path) -> None:
    path = built(attack, tmp_path)
    expected = ANSWERS[attack.expected_unnamed or attack.expected]
    for raw in (False, True):
        response = sent(server, path, raw=raw)
        assert answered(response) == expected
        if response.status_code == 200:
            assert response.json()["audio"]["truncated"] == attack.truncated
        else:
            assert str(tmp_path) not in response.text
            assert str(server.folder) not in response.text
    assert answered(sent(server, speech_like)) == (200, None)
    assert server.upload_files == []


@pytest.mark.parametrize("attack", TOO_LONG, ids=str)
def test_what_is_too_long_is_never_cut_to_length(
    attack: Attack, strict_server: RunningServer, speech_like: Path, tmp_path: Path
) -> None:
    assert answered(sent(strict_server, built(attack, tmp_path))) == (422, "audio_too_long")
    assert answered(sent(strict_server, speech_like)) == (200, None)
    assert strict_server.upload_files == []


def test_nothing_of_this_is_unexpected(server: RunningServer) -> None:
    """The server has met the whole corpus by now, and logged no traceback."""
    assert "Traceback" not in server.log
    assert server.get("/health/ready").status_code == 200
