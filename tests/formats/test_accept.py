"""Which format an Accept header gets (RFC 9110, 12.5.1), and that `format=` wins over it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formats.registry import Formats
from app.vad.errors import InvalidOption, NothingAcceptable

FORMATS = Formats()
choose = FORMATS.choose
CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        # A type, under each of its names.
        ("application/json", "json"),
        ("application/x-ndjson", "ndjson"),
        ("application/ndjson", "ndjson"),
        ("text/csv", "csv"),
        ("text/plain", "audacity"),
        ("text/x-rttm", "rttm"),
        ("application/x-subrip", "srt"),
        ("text/vtt", "vtt"),
        ("text/x-textgrid", "textgrid"),
        ("text/markdown", "md"),
        ("audio/wav", "wav"),
        ("audio/x-wav", "wav"),
        ("application/zip", "zip"),
        # Browsers and clients that take anything.
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        (CHROME, "json"),
        (FIREFOX, "json"),
        ("application/json, text/plain, */*", "json"),
        # Weights.
        ("text/csv;q=0.5, text/vtt;q=0.9", "vtt"),
        ("text/csv, application/json;q=0.9", "csv"),
        ("application/json;q=0.2, text/markdown;q=0.3, */*;q=0.1", "md"),
        ("text/csv;q=0.1, */*;q=0.5", "json"),
        ("text/csv;q=1.000, text/vtt;q=0.999", "csv"),
        ("application/json;q=0, */*", "ndjson"),
        ("application/json;q=0, text/vtt;q=0.1", "vtt"),
        # Ranges: what is named goes before what is only covered.
        ("*/*, text/csv", "csv"),
        ("text/*", "csv"),
        ("text/*;q=0.5, text/vtt", "vtt"),
        ("text/*, text/csv;q=0.1", "audacity"),
        ("audio/*", "wav"),
        ("application/*", "json"),
        # Spelling.
        ("TEXT/CSV; Q=0.8", "csv"),
        ("  text/vtt ; charset=utf-8 ;q=1 , ", "vtt"),
        # What cannot be read, or is not to be had, does not count.
        ("text/csv;q=high", "json"),
        ("text/csv;q=nan, text/vtt;q=0.1", "vtt"),
        ("text/csv;q=inf, text/vtt;q=0.1", "vtt"),
        ("text/csv;q=1e5, text/vtt;q=0.1", "vtt"),
        ("text/csv;q=-1", "json"),
        ("text/csv;q=2, text/vtt;q=0.1", "vtt"),
        (";;;,,,=q", "json"),
    ],
)
def test_accept_chooses(accept: str | None, name: str) -> None:
    assert choose(None, accept).name == name


@pytest.mark.parametrize("name", FORMATS.names)
def test_the_named_format_wins(name: str) -> None:
    assert choose(name, "text/csv, */*;q=0.1").name == name


@pytest.mark.parametrize("name", ["xml", "", "JSON", "json ", "../json"])
def test_an_unknown_name_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(InvalidOption, match="json, ndjson, funasr, csv") as refusal:
        choose(name, "text/csv")
    assert refusal.value.option == "format"


@pytest.mark.parametrize(
    "accept", ["image/png", "text/csv;q=0", "*/*;q=0", "text/html", ", ".join(["a/b"] * 40 + ["text/csv"])]
)
def test_what_nothing_fits_is_refused_with_the_types_there_are(accept: str) -> None:
    with pytest.raises(NothingAcceptable, match=r"application/json.*format="):
        choose(None, accept)


@given(st.text(max_size=200) | st.text("*/;,=q.01 textcsv", max_size=200))
def test_any_header_gets_an_answer_or_is_refused(accept: str) -> None:
    with contextlib.suppress(NothingAcceptable):
        assert choose(None, accept).name in FORMATS.names


def test_every_type_chooses_its_own_format() -> None:
    for form in FORMATS:
        assert {choose(None, media_type).name for media_type in form.accepted} <= {form.name}
        assert not form.accepted or form.media_type.split(";")[0] in form.accepted
