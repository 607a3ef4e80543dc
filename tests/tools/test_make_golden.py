"""The maker of golden data, but for the reference packages themselves: what is fetched is checked, what is asked is
complete, and two makings are told apart. No network."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tools.golden import cases
from tools.golden.compare import compare
from tools.golden.recordings import RECORDINGS, Recording, WrongRecording, gather, sha256

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"RIFF and so on"
HASH = hashlib.sha256(CONTENT).hexdigest()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def published(tmp_path: Path) -> Iterator[str]:
    """A web server that has `a.wav`; its address."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.wav").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "www"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_recording_is_fetched_once(published: str, tmp_path: Path) -> None:
    recording = Recording("b.wav", f"{published}/a.wav", HASH)
    gather(tmp_path / "audio", recordings=[recording])
    assert (tmp_path / "audio" / "b.wav").read_bytes() == CONTENT
    (tmp_path / "www" / "a.wav").unlink()
    gather(tmp_path / "audio", recordings=[recording])
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == ["b.wav"]


def test_other_bytes_are_refused_and_not_kept(published: str, tmp_path: Path) -> None:
    wrong = Recording("b.wav", f"{published}/a.wav", "0" * 64)
    with pytest.raises(WrongRecording, match=rf"b\.wav: SHA-256 {HASH}"):
        gather(tmp_path / "audio", recordings=[wrong])
    assert list((tmp_path / "audio").iterdir()) == []


def test_what_is_not_published_any_more(published: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="404"):
        gather(tmp_path / "audio", recordings=[Recording("b.wav", f"{published}/gone.wav", HASH)])


def test_from_a_folder_with_the_same_check_and_no_network(tmp_path: Path) -> None:
    recording = Recording("b.wav", "http://127.0.0.1:1/unreachable", HASH)
    with pytest.raises(FileNotFoundError):
        gather(tmp_path / "audio", local=tmp_path, recordings=[recording])
    (tmp_path / "b.wav").write_bytes(b"something else")
    with pytest.raises(WrongRecording):
        gather(tmp_path / "audio", local=tmp_path, recordings=[recording])
    (tmp_path / "b.wav").write_bytes(CONTENT)
    gather(tmp_path / "audio", local=tmp_path, recordings=[recording])
    assert sha256(tmp_path / "audio" / "b.wav") == HASH


def test_a_damaged_one_is_fetched_again(published: str, tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "b.wav").write_bytes(CONTENT[:5])
    gather(tmp_path / "audio", recordings=[Recording("b.wav", f"{published}/a.wav", HASH)])
    assert (tmp_path / "audio" / "b.wav").read_bytes() == CONTENT


def test_every_recording_has_its_address_and_hash() -> None:
    assert len({each.name for each in RECORDINGS}) == len({each.sha256 for each in RECORDINGS}) == len(RECORDINGS)
    for each in RECORDINGS:
        assert each.url.startswith("https://")
        assert each.url.endswith(Path(each.name).suffix)
        assert len(bytes.fromhex(each.sha256)) == 32
    every = [*cases.fsmn(), *cases.firered(), *cases.firered_stream(), *cases.firered_aed(), *cases.silero()]
    assert {audio for audio, _ in every} <= {each.name for each in RECORDINGS}


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("offline.json", cases.fsmn), ("firered_offline.json", cases.firered),
        ("firered_stream.json", cases.firered_stream), ("firered_aed.json", cases.firered_aed),
    ],
)  # fmt: skip
def test_the_cases_are_those_that_the_tests_use(
    reference: Path, name: str, asked: Callable[[], Iterator[cases.Case]]
) -> None:
    kept = [(case["audio"], case["options"]) for case in json.loads((reference / "golden" / name).read_text())]
    mine = list(asked())

    def counted(found: list[cases.Case]) -> Counter[str]:
        return Counter(json.dumps([audio, options], sort_keys=True) for audio, options in found)

    assert counted(mine) == counted(kept)


def test_how_many_cases_there_are() -> None:
    lists = (cases.fsmn, cases.firered, cases.firered_stream, cases.firered_aed, cases.silero)
    assert [len(list(each())) for each in lists] == [80, 61, 27, 15, 21]
    assert len(cases.FSMN_STREAMS) == 9


@pytest.fixture
def two_makings(tmp_path: Path) -> tuple[Path, Path]:
    """The same twice, but for the order of cases and the last bits of a posterior."""
    first, second = tmp_path / "first", tmp_path / "second"
    found = [
        {"audio": "a.wav", "options": {"x": 1, "y": 2}, "segments_ms": [[0, 10]]},
        {"audio": "a.wav", "options": {}, "segments_ms": []},
    ]
    for folder, order, off in ((first, found, 0.0), (second, found[::-1], 5e-5)):
        folder.mkdir()
        (folder / "cases.json").write_text(json.dumps(order))
        np.save(folder / "a.npy", np.full(7, 0.5 + off, np.float32))
    return first, second


def test_the_same_twice(two_makings: tuple[Path, Path]) -> None:
    told = {each.name: each for each in compare(*two_makings)}
    assert all(each.same for each in told.values())
    assert told["cases.json"].told == "all 2 cases are the same"
    assert told["a.npy"].told == "7 frames, 5.0e-05 apart at most"


def test_what_differs_is_told(two_makings: tuple[Path, Path]) -> None:
    made, kept = two_makings
    cases_kept = json.loads((kept / "cases.json").read_text())
    cases_kept[0]["segments_ms"] = [[0, 20]]
    (kept / "cases.json").write_text(json.dumps(cases_kept))
    np.save(kept / "a.npy", np.full(7, 0.6, np.float32))
    np.save(kept / "b.npy", np.zeros(3, np.float32))
    np.save(made / "c.npy", np.zeros(3, np.float32))
    told = {each.name: each for each in compare(made, kept)}
    assert {name: each.same for name, each in told.items()} == {
        "cases.json": False, "a.npy": False, "b.npy": False, "c.npy": True,
    }  # fmt: skip
    assert "1 of 2 cases differ" in told["cases.json"].told
    shutil.copy(made / "c.npy", kept / "c.npy")
    np.save(made / "c.npy", np.zeros(4, np.float32))
    assert not {each.name: each for each in compare(made, kept)}["c.npy"].same, "another length"


def test_the_command_ends_at_a_wrong_recording_before_anything_is_installed(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / RECORDINGS[0].name).write_bytes(CONTENT)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_golden.py"), "--audio", str(tmp_path / "audio"),
         "--out", str(tmp_path / "out"), "--environment", str(tmp_path / "environment")],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{RECORDINGS[0].name}: SHA-256 {HASH}" in done.stderr
    assert not (tmp_path / "environment").exists()
