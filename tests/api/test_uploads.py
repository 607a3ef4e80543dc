"""A body taken apart: whose name is whose, what a blank input is, what stays in memory and what goes to disk."""

import io
import random
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from app.api.headers import file_name_of, parse_header
from app.api.uploads import SMALL_BYTES, DiskRoom, UploadedFile, UploadStore
from app.audio.options import AudioInput
from app.engine.shares import NOBODY
from app.vad.errors import Overloaded
from tests.api.raw import ANN, BOB, answer_of, connect, occupied, problem_of, request, status_of, stuck_ffmpeg
from tests.audio.ffmpegs import encode
from tests.server import RunningServer, local_server
from tests.waiting import eventually

MEMORY_BYTES = 32 << 20


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("filename=\"my filename*=utf-8''evil take.wav\"", "my filename*=utf-8''evil take.wav"),
        ('filename="a; filename=evil.wav"', "a; filename=evil.wav"),
        ('filename="a; name=evil; b.wav"', "a; name=evil; b.wav"),
        ('FileName = "a.wav"', "a.wav"),
        ("filename=a.wav; size=3", "a.wav"),
        ("filename=a b.wav ; size=3", "a b.wav"),
        ('filename="a\\"b\\\\c.wav"', 'a"b\\c.wav'),
        ('filename="C:\\takes\\a.wav"', "C:\\takes\\a.wav"),
        ('filename="takes\\"', "takes\\"),
        ('filename="a%22b%0D%0Ac%41.wav"', 'a"b\r\nc%41.wav'),
        ('filename="never closed.wav', "never closed.wav"),
        ('filename="a.wav"junk; filename="evil.wav"', "a.wav"),
        ('filename="a.wav"; filename="evil.wav"', "a.wav"),
        ("filename*=UTF-8''b%20%E4%B8%80.wav; filename=\"a.wav\"", "b 一.wav"),
        ("filename=\"a.wav\"; filename*=UTF-8''b%3B.wav", "b;.wav"),
        ('filename="a.wav"; filename*="UTF-8\'\'b.wav"', "b.wav"),
        ("filename*=iso-8859-1'en'%A3.wav", "£.wav"),
        ("filename*=no-such-charset''%E4%B8%80.wav", "一.wav"),
        ('filename="a.wav"; filename*=b.wav', "a.wav"),
        ('x="filename=evil.wav"; filename="a.wav"', "a.wav"),
        ('junk; =; filename="a.wav"', "a.wav"),
        ('filename=""', ""),
        ("size=3", None),
        ('x="filename=evil.wav"', None),
        ("", None),
    ],
)
def test_the_name_of_a_file(disposition: str, name: str | None) -> None:
    assert file_name_of(f'form-data; name="file"; {disposition}'.encode()) == name
    assert parse_header(f'form-data; {disposition}; name="file"'.encode())[0] == "form-data"


@pytest.mark.parametrize("name", ["運.wav", "誠", "a運\\b.wav", "録音 ; filename=一.wav", "㈱.wav", "𠮷.wav"])
@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_a_backslash_may_be_half_a_character(name: str, charset: str) -> None:
    """In GBK 運 ends in the byte of a backslash, which then stands in front of the closing quote or of a letter."""
    assert file_name_of(f'form-data; name="file"; filename="{name}"'.encode(charset)) == name


QUOTABLE = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=40).filter(
    lambda name: not any(escape in name for escape in ("%22", "%0D", "%0A"))
)


@given(QUOTABLE, QUOTABLE)
def test_a_quoted_value_ends_where_it_ends(name: str, field: str) -> None:
    """As curl quotes it. Nothing within a value is taken for a parameter."""
    quoted, other = (text.replace("\\", "\\\\").replace('"', '\\"') for text in (name, field))
    header = f'form-data; name="{other}"; filename="{quoted}"'.encode()
    assert parse_header(header) == ("form-data", {"name": field, "filename": name})


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda name: b"x; filename*=idna''" + name))
def test_no_header_breaks_the_parser(header: bytes) -> None:
    kind, parameters = parse_header(header)
    assert all(name == name.lower() for name in (kind, *parameters))
    file_name_of(header)


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "undefined", "zlib", "UTF-7"])
def test_a_name_in_a_charset_that_is_none_is_read_as_utf_8(charset: str) -> None:
    assert file_name_of(f"x; filename*={charset}''a%E4%B8%80{'9' * 60_000}.wav".encode()) == f"a一{'9' * 60_000}.wav"


# ---- blank inputs


def form(*parts: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """A form of these parts: what stands behind `form-data`, and the content."""
    body = b"".join(
        b"--x\r\nContent-Disposition: form-data" + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"
        for disposition, content in parts
    )
    return body + b"--x--\r\n", {"content-type": "multipart/form-data; boundary=x"}


BLANK = ('; name="file"; filename=""\r\nContent-Type: application/octet-stream', b"")
OTHER_BLANK = ('; name="cover"; filename=""', b"")


@pytest.mark.parametrize("blanks", [[BLANK], [BLANK, BLANK, OTHER_BLANK], [OTHER_BLANK]])
@pytest.mark.parametrize("before", [True, False])
def test_a_file_input_that_nobody_filled_in_is_no_file(
    server: RunningServer, speech_like: Path, blanks: list[tuple[str, bytes]], before: bool
) -> None:
    real = ('; name="file"; filename="a.wav"', speech_like.read_bytes())
    body, headers = form(*([*blanks, real] if before else [real, *blanks]))
    answer = server.post("/vad", content=body, headers=headers)
    assert answer.json()["name"] == "a"
    assert len(answer.json()["segments"]) == 2


def test_blank_inputs_alone_are_no_audio(server: RunningServer) -> None:
    for parts in ([BLANK], [BLANK, OTHER_BLANK], [BLANK] * 60):
        body, headers = form(*parts)
        answer = server.post("/vad", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "no_audio")


def test_a_file_that_is_empty_has_a_name_and_is_told(server: RunningServer, speech_like: Path) -> None:
    body, headers = form(
        ('; name="file"; filename="a.wav"', speech_like.read_bytes()), ('; name="file"; filename="b.wav"', b"")
    )
    whole, empty = server.post("/vad", content=body, headers=headers).json()
    assert (whole["name"], empty["name"], empty["code"]) == ("a", "b", "no_audio")


def test_a_part_without_a_name_that_holds_audio_is_a_file(server: RunningServer, speech_like: Path) -> None:
    for disposition in ('; name="file"', '; name="file"; filename=""'):
        body, headers = form((disposition, speech_like.read_bytes()))
        assert len(server.post("/vad", content=body, headers=headers).json()["segments"]) == 2


@pytest.mark.parametrize("part", [('; name="cover"; filename="a.png"', b""), ('; name="cover"; filename=""', b"x")])
def test_a_file_in_another_field_is_named(server: RunningServer, speech_like: Path, part: tuple[str, bytes]) -> None:
    body, headers = form(('; name="file"; filename="a.wav"', speech_like.read_bytes()), part)
    answer = server.post("/vad", content=body, headers=headers)
    assert (answer.status_code, answer.json()["option"]) == (422, "cover")


def test_a_field_whose_name_looks_like_another_parameter(server: RunningServer, speech_like: Path) -> None:
    """It is told as an option of that name, and not taken for a file."""
    body, headers = form(
        ('; name="x; filename=evil.wav"', b"1"), ('; name="file"; filename="a.wav"', speech_like.read_bytes())
    )
    answer = server.post("/vad", content=body, headers=headers)
    assert (answer.status_code, answer.json()["option"]) == (422, "x; filename=evil.wav")


# ---- in memory and on disk


def held(server: RunningServer) -> tuple[float, float]:
    """Bytes in memory and on disk."""
    families = {family.name: family for family in text_string_to_metric_families(server.get("/metrics").text)}
    memory, disk = (families[name].samples[0].value for name in ("vad_upload_memory_bytes", "vad_upload_bytes"))
    return memory, disk


@pytest.fixture
def waiting(small_model: Path, tmp_path: Path) -> Iterator[RunningServer]:
    """One place, which somebody has: what comes is received, and waits."""
    settings = {"VAD_MAX_REQUESTS": "1", "VAD_MAX_QUEUE": "200", "VAD_FFMPEG": stuck_ffmpeg(tmp_path)}
    with local_server(small_model, tmp_path, settings) as server, connect(server, "127.0.0.9") as first:
        first.sendall(request(body=b"ID3" + bytes(400_000), length=400_003))
        eventually(lambda: occupied(server) == (0, 1, 0))
        yield server


def wav(speech_like: Path, size: int) -> bytes:
    content = speech_like.read_bytes()
    return content[:44] + random.Random(1).randbytes(size - 44)


@pytest.mark.parametrize("multipart", [False, True])
@pytest.mark.parametrize("size", [SMALL_BYTES - 200, SMALL_BYTES, SMALL_BYTES + 1, 3 << 20])
def test_small_bodies_stay_in_memory(waiting: RunningServer, speech_like: Path, size: int, multipart: bool) -> None:
    content, head = wav(speech_like, size), ""
    if multipart:
        content, _ = form(('; name="file"; filename="a.wav"', content))
        head = "Content-Type: multipart/form-data; boundary=x\r\n"
    before = held(waiting)
    with connect(waiting) as connection:
        connection.sendall(
            f"POST /vad HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
        )
        eventually(lambda: occupied(waiting) == (0, 1, 1))
        memory, disk = (now - then for now, then in zip(held(waiting), before, strict=True))
        small = len(content) <= SMALL_BYTES
        assert (memory, disk) == ((len(content), 0) if small else (0, size))
        assert len(waiting.upload_files) == (1 if small else 2), "the first request's has a file in any case"
    eventually(lambda: held(waiting) == before)


def test_memory_has_an_end_and_what_comes_then_goes_to_disk(waiting: RunningServer, speech_like: Path) -> None:
    size, before = SMALL_BYTES, held(waiting)
    count = MEMORY_BYTES // size + 3
    content = wav(speech_like, size)
    with ExitStack() as all_held:
        for number in range(count):
            connection = all_held.enter_context(connect(waiting, f"127.0.2.{number + 1}"))
            connection.sendall(request(body=content, length=size))
        eventually(lambda: occupied(waiting) == (0, 1, count))
        assert held(waiting) == (before[0] + MEMORY_BYTES, before[1] + 3 * size)
    eventually(lambda: held(waiting) == before)
    assert len(waiting.upload_files) == 1


def test_what_the_two_ways_answer_is_the_same(server: RunningServer, speech_like: Path) -> None:
    """The same samples, in a body that fits and in one that does not."""
    samples, rate = soundfile.read(speech_like, dtype="int16")
    written = io.BytesIO()
    soundfile.write(written, samples[: SMALL_BYTES // 2 - 100], rate, format="WAV", subtype="PCM_16")
    small = written.getvalue()
    more = b"LIST" + (100_000).to_bytes(4, "little") + b"INFO" + bytes(99_996)
    large = b"RIFF" + (len(small + more) - 8).to_bytes(4, "little") + small[8:] + more
    assert len(small) <= SMALL_BYTES < len(large)
    for path in ("/vad", "/vad?format=wav", "/vad?format=csv", "/vad?format=ndjson"):
        one, other = (server.post(path, content=each) for each in (small, large))
        assert (one.status_code, other.status_code) == (200, 200)
        if path == "/vad":
            assert one.json()["segments"] == other.json()["segments"] != []
            assert one.json()["warnings"] == other.json()["warnings"]
        elif "ndjson" not in path:
            assert one.content == other.content
    eventually(lambda: server.upload_files == [])
    assert held(server) == (0, 0)


@pytest.fixture
def small_mp3(speech_like: Path, tmp_path: Path) -> bytes:
    return encode(speech_like, tmp_path / "a.mp3", "-c:a", "libmp3lame", "-b:a", "32k").read_bytes()


def test_a_small_file_for_ffmpeg_is_written_when_it_is_needed_and_gone_afterwards(
    server: RunningServer, small_mp3: bytes
) -> None:
    assert len(small_mp3) < SMALL_BYTES
    for path in ("/vad", "/vad?format=wav"):
        answer = server.post(path, content=small_mp3)
        assert answer.status_code == 200
    body, headers = form(*[('; name="file"; filename="a.mp3"', small_mp3)] * 3)
    assert [each["audio"]["format"] for each in server.post("/vad", content=body, headers=headers).json()] == [
        "MP3"
    ] * 3
    eventually(lambda: server.upload_files == [])
    assert held(server) == (0, 0)


def test_a_spooled_file_counts_against_the_disk(tmp_path: Path) -> None:
    store = UploadStore(tmp_path, budget_bytes=1_000)
    store.prepare()
    try:
        rooms = [DiskRoom(store, NOBODY) for _ in range(2)]
        files = [UploadedFile(room, "a", None, in_memory=True) for room in rooms]
        for file in files:
            file.write(bytes(600))
            file.finish()
        source = files[0].audio_input(lambda path, media_type: AudioInput(path))
        assert (source.size, source.open().read(), source.path.exists()) == (600, bytes(600), False)
        for _ in range(2):
            assert source.on_disk().read_bytes() == bytes(600)
        assert store.disk_bytes == 600
        with pytest.raises(Overloaded):
            files[1].spool()
        files[0].discard()
        rooms[0].give_back()
        files[1].spool()
        assert store.disk_bytes == 600
        for file, room in zip(files, rooms, strict=True):
            file.discard()
            room.give_back()
        assert (store.disk_bytes, list(tmp_path.rglob("*.upload"))) == (0, [])
        with pytest.raises(FileNotFoundError):
            files[0].spool()
        assert list(tmp_path.rglob("*.upload")) == [], "a thread that comes late leaves nothing behind"
    finally:
        store.close()


def test_the_disk_is_counted_exactly_by_any_number_of_threads(tmp_path: Path) -> None:
    store = UploadStore(tmp_path, budget_bytes=1 << 20)

    def count() -> None:
        for _ in range(2_000):
            room = DiskRoom(store, NOBODY)
            room.take(3)
            room.take(2)
            room.give_back()

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.disk_bytes == 0


def upload_that_stops(server: RunningServer, client: str, size: int) -> socket.socket:
    """So many bytes of an upload that is longer."""
    connection = connect(server, client)
    connection.sendall(request(body=b"RIFF" + bytes(size), length=8 << 20))
    return connection


def test_one_who_fills_the_disk_leaves_some_for_others(small_model: Path, tmp_path: Path) -> None:
    megabyte = 1 << 20
    with local_server(small_model, tmp_path, {"VAD_TMP_BUDGET_MB": "8"}) as server, ExitStack() as held:
        for _ in range(2):
            held.enter_context(upload_that_stops(server, ANN, 5 * megabyte // 2))
        eventually(lambda: held_on_disk(server) >= 4 * megabyte)
        refused = held.enter_context(upload_that_stops(server, ANN, 6 * megabyte))
        assert problem_of(answer_of(refused))["code"] == "overloaded", "one megabyte is for those who have nothing"
        with connect(server, BOB) as bob:
            bob.sendall(request(body=silence_wav(900_000)))
            assert status_of(answer_of(bob)) == 200
    eventually(lambda: server.upload_files == [])


def test_without_a_budget_a_tenth_of_the_disk_stays_free(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    with local_server(small_model, tmp_path) as server:
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=4_000_000))
        assert server.post("/vad", content=silence_wav(3_000_000)).status_code == 200
        refused = server.post("/vad", content=silence_wav(3_400_000))
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert server.upload_files == []
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=9_000_000))
        assert server.post("/vad", content=silence_wav(3_400_000)).status_code == 200, "it is measured anew"


def held_on_disk(server: RunningServer) -> int:
    return sum(path.stat().st_size for path in server.folder.rglob("*.upload"))


def silence_wav(size: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(size // 2, dtype=np.int16), 16_000, format="WAV")
    return file.getvalue()
