"""Films with several sounds: the one that is meant, or the first that can be read."""

from pathlib import Path

import numpy as np
import pytest

from tests.audio.ffmpegs import AVAILABLE, run
from tests.field.asking import SOUND, Pairs, ask, wav
from tests.server import RunningServer

SILENT = np.zeros(len(SOUND), dtype=np.float32)


def film(folder: Path, suffix: str, *options: str) -> Path:
    """A silent track, then the usual recording."""
    (folder / "silent").mkdir()
    sounds = [wav(folder / "silent", SILENT), wav(folder)]
    inputs = [part for sound in sounds for part in ("-i", str(sound))]
    path = folder / f"film{suffix}"
    run(next(iter(AVAILABLE.values())), *inputs, "-map", "0:a", "-map", "1:a", "-c:a", "aac", *options, str(path))
    return path


pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no ffmpeg is installed")
SECOND_IS_DEFAULT = ("-disposition:a:0", "0", "-disposition:a:1", "default")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_silent_first_track_and_a_default_one_that_speaks(
    suffix: str, server: RunningServer, plain: Pairs, tmp_path: Path
) -> None:
    answer = ask(server, film(tmp_path, suffix, *SECOND_IS_DEFAULT))
    assert answer.is_near(plain, 20 + 64)
    assert (answer.audio["track"], answer.codes) == (1, ["other_tracks"])


def test_a_track_by_its_number(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = film(tmp_path, ".mkv")
    assert ask(server, path).segments == []
    assert "other_tracks" in ask(server, path).codes
    assert ask(server, path, track="1").is_near(plain, 20 + 64)


def test_dts_first_and_aac_second(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = film(tmp_path, ".mkv", "-c:a:0", "dca", "-strict", "-2", "-ar", "48000", *SECOND_IS_DEFAULT)
    answer = ask(server, path)
    assert (len(answer.segments), answer.audio["track"], answer.codes) == (len(plain), 1, ["other_tracks"])
    silent = ask(server, path, track="0")
    assert (silent.segments, "other_tracks" in silent.codes) == ([], True)


def test_a_first_track_that_nobody_can_read(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = film(tmp_path, ".mkv")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ", 1))
    answer = ask(server, path)
    assert answer.is_near(plain, 20 + 64)
    assert (answer.audio["track"], answer.codes) == (1, ["other_tracks"])
