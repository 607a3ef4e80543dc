"""A client's file name, made harmless for paths, headers and every format."""

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formats.documents import funasr_documents
from app.formats.report import safe_name, unique_names
from app.formats.texts import rttm_text
from tests.formats.reports import report_of

LONGEST_ADDITION = "_ch7_000001_43200000-43200000.wav"
"""What an excerpt's file name has beside the name."""


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        (None, "audio"),
        ("", "audio"),
        ("a.wav", "a"),
        ("meeting.2024-05-01.flac", "meeting.2024-05-01"),
        ("语音 示例.wav", "语音_示例"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32\\sam.wav", "sam"),
        ("/", "audio"),
        ("...", "audio"),
        (".hidden", "hidden"),
        ("-rf.wav", "rf"),
        ("a\r\nSet-Cookie: b.wav", "a_Set-Cookie_b"),
        ("a\x00b.wav", "a_b"),
        ('"; rm -rf "x.wav', "rm_-rf_x"),
        ("=cmd|' -C calc'!A0.csv", "cmd_-C_calc_A0"),
        ("<script>.mp3", "script"),
        ("gnp\u202exe.wav", "gnp_xe"),
        ("cafe\u0301.wav", "caf\u00e9"),
        ("a" * 300 + ".wav", "a" * 64),
        ("\U00020000" * 100, "\U00020000" * 48),
        ("x" * 63 + "-tail", "x" * 63),
        ("\ud800.wav", "audio"),
    ],
)
def test_examples(filename: str | None, name: str) -> None:
    assert safe_name(filename) == name


@given(st.text(max_size=300) | st.text('./\\ab \t\r\n\x00:*?"<>|', max_size=40))
def test_any_name_is_one_harmless_path_component(filename: str) -> None:
    name = safe_name(filename)
    assert 1 <= len(name) <= 64
    assert len((name + LONGEST_ADDITION).encode()) <= 255
    assert PurePosixPath(name).parts == PureWindowsPath(name).parts == (name,)
    assert name not in (".", "..")
    assert name[0] not in ".-"
    assert not any(character.isspace() or unicodedata.category(character)[0] == "C" for character in name)
    assert not set(name) & set("\"'<>|:*?;,\\/=%&$`")


@given(st.text(max_size=60))
def test_any_name_stays_one_field_of_rttm(filename: str) -> None:
    lines = rttm_text(report_of([(0, 10), (20, 30)], name=safe_name(filename))).splitlines()
    assert [len(line.split()) for line in lines] == [10, 10]


@pytest.mark.parametrize(
    ("names", "unique"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a-2", "a-3"]),
        (["a", "a", "a-2"], ["a", "a-3", "a-2"]),
        (["a-2", "a", "a"], ["a-2", "a", "a-3"]),
        (["a", "a", "a-2", "a-2"], ["a", "a-3", "a-2", "a-2-2"]),
        (["A", "a", "A-2"], ["A", "a-3", "A-2"]),
        (["caf\u00e9", "CAF\u00c9"], ["caf\u00e9", "CAF\u00c9-2"]),
        (["stra\u00dfe", "STRASSE"], ["stra\u00dfe", "STRASSE-2"]),
    ],
)
def test_repeated_names_are_numbered(names: list[str], unique: list[str]) -> None:
    assert unique_names(names) == unique


@given(st.lists(st.sampled_from(["a", "A", "a-2", "A-2", "a-2-2", "b", "a-3"]), max_size=12))
def test_numbered_names_differ_whatever_their_case(names: list[str]) -> None:
    unique = unique_names(names)
    assert len({name.lower() for name in unique}) == len(names)
    assert all(new == old or new.startswith(f"{old}-") for new, old in zip(unique, names, strict=True))
    assert {name.lower() for name in names} <= {name.lower() for name in unique}


def test_funasr_keys_tell_channels_apart() -> None:
    report = report_of([(0, 10)], [(20, 30)], split=True, name="call")
    assert funasr_documents(report) == [
        {"key": "call-ch0", "value": [[0, 10]]},
        {"key": "call-ch1", "value": [[20, 30]]},
    ]
