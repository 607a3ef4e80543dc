"""Forms as other people's programs send them: blank fields, odd but lawful multipart, and what is told of the rest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.doors.options import file_options
from tests.server import RunningServer

FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
FORM = {"content-type": "multipart/form-data; boundary=x"}


def option(name: str, value: str, more: str = "") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n{more}\r\n{value}'.encode()


def body(*parts: bytes, before: bytes = b"", after: bytes = b"\r\n") -> bytes:
    """A form with the boundary `x`."""
    return before + b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--" + after


def send(
    server: RunningServer, content: bytes, headers: Mapping[str, str] = FORM, query: str = ""
) -> tuple[int, dict[str, Any]]:
    answer = server.post(f"/vad{query}", content=content, headers=headers)
    return answer.status_code, answer.json()


@pytest.fixture
def sound(speech_like: Path) -> bytes:
    return speech_like.read_bytes()


def is_heard(answer: tuple[int, dict[str, Any]], name: str = "a") -> bool:
    status, document = answer
    assert status == 200, document
    return document["name"] == name and len(document["segments"]) == 2


# ---- blank fields

OPTIONS = [
    "model", "format", "channel", "threshold", "mode", "preset", "lang", "keep", "probabilities", "encoding",
    "max_end_silence_time", "chunk_max_s", "track", "clock", "submit",
]  # fmt: skip


@pytest.mark.parametrize("value", ["", " ", "\r\n", "\t"])
def test_a_field_left_blank_is_absent(server: RunningServer, sound: bytes, value: str) -> None:
    blanks = [option(name, value) for name in OPTIONS]
    assert is_heard(send(server, body(*blanks, FILE + sound)))
    assert is_heard(send(server, body(FILE + sound, *blanks)))
    query = "&".join(f"{name}={'+' if value else ''}" for name in OPTIONS)
    assert is_heard(send(server, body(FILE + sound), query=f"?{query}"))
    assert is_heard(send(server, sound, {}, query=f"?{query}"), "audio")


def test_a_blank_field_takes_no_value_back(server: RunningServer, sound: bytes) -> None:
    given, blank = option("threshold", "0.9"), option("threshold", "")
    for parts in ((given, blank), (blank, given)):
        status, document = send(server, body(*parts, FILE + sound), query="?mode=tight&mode=")
        assert (status, document["options"]["threshold"]) == (200, 0.9)
    status, document = send(server, body(blank, FILE + sound), query="?mode=tight&threshold=0.9&threshold=")
    assert (status, document["options"]["threshold"]) == (200, 0.9)


def test_of_repeated_fields_the_last_counts(server: RunningServer, sound: bytes) -> None:
    fields = [option("mode", "tight"), option("threshold", "0.2"), option("threshold", "0.9")]
    assert send(server, body(*fields, FILE + sound))[1]["options"]["threshold"] == 0.9


def test_options_may_follow_the_file(server: RunningServer, sound: bytes) -> None:
    status, document = send(server, body(FILE + sound, option("mode", "tight"), option("threshold", "0.9")))
    assert (status, document["options"]["threshold"]) == (200, 0.9)


def test_blank_parameters_of_kept_analyses_and_corrections_are_absent(server: RunningServer, sound: bytes) -> None:
    _, kept = send(server, sound, {}, query="?keep=true")
    for path in ("segments?model=&threshold=&submit=", "curve?points=&start_ms=&end_ms=+"):
        assert server.get(f"/analyses/{kept['analysis_id']}/{path}").status_code == 200
    corrected = {"audio": kept["audio"], "segments": [{"start_ms": 0, "end_ms": 10}]}
    assert server.post("/render?format=&lang=", json=corrected).json()["segments"][0]["end_ms"] == 10


def test_a_file_input_with_blanks_for_a_name_is_none(server: RunningServer, sound: bytes) -> None:
    blank = b'Content-Disposition: form-data; name="file"; filename=" "\r\n\r\n'
    assert is_heard(send(server, body(blank, FILE + sound)))


# ---- lawful, and not what most send


@pytest.mark.parametrize(
    "before",
    [
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"This is a multi-part message in MIME format.\r\n",
        b"--- not a boundary ---\r\n--y\r\n--xy\r\nno -- --x either\r\n",
        b"-" * 60_000 + b"\r\n",
    ],
    ids=["line", "lines", "line feed", "sentence", "dashes", "long"],
)
def test_a_preamble_is_ignored(server: RunningServer, sound: bytes, before: bytes) -> None:
    assert is_heard(send(server, body(FILE + sound, before=before)))
    large = sound + bytes(400_000)
    assert is_heard(send(server, body(option("mode", "endpoint"), FILE + large, before=before)))


@pytest.mark.parametrize("after", [b"", b"\r\n", b"\r\nan epilogue\r\n--x\r\n", b"  \r\n"])
def test_what_follows_the_last_boundary_is_ignored(server: RunningServer, sound: bytes, after: bytes) -> None:
    assert is_heard(send(server, body(FILE + sound, after=after)))


def test_blanks_behind_a_boundary(server: RunningServer, sound: bytes) -> None:
    content = body(option("mode", "endpoint"), FILE + sound).replace(b"--x\r\n", b"--x \t\r\n")
    assert is_heard(send(server, content))


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/form-data; boundary="x"',
        "Multipart/Form-Data; Boundary=x",
        "multipart/form-data; charset=utf-8; boundary=x",
        "multipart/form-data ;boundary=x; charset=GBK",
    ],
)
def test_the_content_type_as_it_may_be_written(server: RunningServer, sound: bytes, kind: str) -> None:
    assert is_heard(send(server, body(FILE + sound), {"content-type": kind}))


def test_a_boundary_of_every_character_that_one_may_have(server: RunningServer, sound: bytes) -> None:
    boundary = "a'()+_,-./:=? Z9" + "0" * 54
    content = body(FILE + sound).replace(b"--x", f"--{boundary}".encode())
    assert is_heard(send(server, content, {"content-type": f'multipart/form-data; boundary="{boundary}"'}))


def test_a_charset_of_a_field(server: RunningServer, sound: bytes) -> None:
    names = [
        option("_charset_", "UTF-8"),
        option("mode", "endpoint", "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"),
    ]
    assert is_heard(send(server, body(*names, FILE + sound)))
    model = 'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=gbk\r\n\r\n模型'
    status, problem = send(server, body(model.encode("gbk"), FILE + sound))
    assert (status, problem["option"], "模型" in problem["detail"]) == (422, "model", True)


@pytest.mark.parametrize("order", ["type first", "lower case", "no space"])
def test_headers_of_a_part_in_any_shape(server: RunningServer, sound: bytes, order: str) -> None:
    head = {
        "type first": b'Content-Type: audio/wav\r\nContent-Length: 9\r\nContent-Disposition: form-data; name="file"; ',
        "lower case": b"content-disposition: FORM-DATA; name=file; ",
        "no space": b'Content-Disposition:form-data;name="file";',
    }[order]
    assert is_heard(send(server, body(head + b"filename=a.wav\r\n\r\n" + sound)))


# ---- told


@pytest.mark.parametrize("kind", ["related", "mixed", "alternative", "x-mixed-replace"])
def test_another_kind_of_multipart_is_told_what_to_send(server: RunningServer, sound: bytes, kind: str) -> None:
    for content in (body(FILE + sound), body(FILE + sound + bytes(400_000)), b""):
        status, problem = send(server, content, {"content-type": f"multipart/{kind}; boundary=x"})
        assert (status, problem["code"]) == (415, "unsupported_audio")
        assert problem["detail"].startswith(f"multipart/{kind} is not supported; send multipart/form-data")


@pytest.mark.parametrize(
    ("headers", "change", "told"),
    [
        ({"content-type": "multipart/form-data"}, (b"", b""), "has no boundary"),
        ({"content-type": "multipart/form-data; boundary="}, (b"", b""), "has no boundary"),
        ({"content-type": f"multipart/form-data; boundary={'x' * 201}"}, (b"", b""), "has no boundary"),
        ({"content-type": "multipart/form-data; boundary=y"}, (b"", b""), "does not begin with the boundary"),
        (FORM, (b"--x", b"--X"), "does not begin with the boundary"),
        (FORM, (b"\r\n", b"\n"), "end in LF"),
        (FORM, (b"--x--\r\n", b""), "ends before its last boundary"),
        (FORM, (b"--x\r\n", b"-" * 70_000 + b"\r\n--x\r\n"), "does not begin with the boundary"),
    ],
)
def test_a_broken_form_is_told_what_is_wrong(
    server: RunningServer, sound: bytes, headers: dict[str, str], change: tuple[bytes, bytes], told: str
) -> None:
    for padding in (b"", bytes(400_000)):
        content = body(FILE + b"no sound" + padding)
        status, problem = send(server, content.replace(*change) if change[0] else content, headers)
        assert (status, problem["code"]) == (400, "bad_request")
        assert told in problem["detail"]


@pytest.mark.parametrize("coding", ["base64", "BASE64 ", "quoted-printable"])
def test_a_transfer_encoding_is_told(server: RunningServer, sound: bytes, coding: str) -> None:
    for part in (FILE + sound, option("mode", "dGlnaHQ=")):
        status, problem = send(server, body(f"Content-Transfer-Encoding: {coding}\r\n".encode() + part, FILE + sound))
        assert (status, problem["code"]) == (415, "unsupported_audio")
        assert f"Content-Transfer-Encoding '{coding.strip().lower()}'" in problem["detail"]


@pytest.mark.parametrize("coding", ["binary", "8bit", "7BIT", ""])
def test_a_transfer_encoding_that_changes_nothing(server: RunningServer, sound: bytes, coding: str) -> None:
    assert is_heard(send(server, body(f"Content-Transfer-Encoding: {coding}\r\n".encode() + FILE + sound)))


def test_a_form_with_a_field_for_every_option(server: RunningServer, sound: bytes) -> None:
    """As a page of all of them sends it, all but one left blank."""
    blanks = [option(name, "") for name in file_options()]
    status, document = send(server, body(*blanks, FILE + sound, option("max_end_silence_time", "500")))
    assert (status, document["options"]["max_end_silence_time"]) == (200, 500)
