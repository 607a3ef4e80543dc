"""WeChat's voice messages."""

import importlib.util
import io
from collections.abc import Callable

import numpy as np
import pytest
import soxr

from tests.field.asking import RATE, SECONDS, SOUND, Pairs, ask, refusal
from tests.server import RunningServer


@pytest.fixture(scope="module")
def message() -> bytes:
    """The usual recording, encoded as WeChat does."""
    pysilk = pytest.importorskip("pysilk", reason="silk-python is not installed (the extra `silk`)")
    pcm = (soxr.resample(SOUND, RATE, 24_000) * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes()
    out = io.BytesIO()
    pysilk.encode(io.BytesIO(pcm), out, 24_000, 24_000, tencent=True)
    return out.getvalue()


@pytest.mark.parametrize("begin", [bytes, lambda message: message[1:]], ids=["WeChat's", "Skype's"])
def test_a_voice_message(begin: Callable[[bytes], bytes], message: bytes, server: RunningServer, plain: Pairs) -> None:
    answer = ask(server, begin(message))
    assert answer.is_near(plain, 60)
    assert (answer.audio["format"], answer.audio["sample_rate"], answer.codes) == ("SILK", 24_000, [])
    assert abs(answer.audio["duration_ms"] - 1000 * SECONDS) <= 40


def test_one_that_is_cut(message: bytes, server: RunningServer, plain: Pairs) -> None:
    answer = ask(server, message[: len(message) * 6 // 10])
    assert answer.is_near(plain[:1], 60)
    assert (answer.audio["truncated"], answer.codes) == (True, ["truncated"])


@pytest.mark.usefixtures("message")
@pytest.mark.parametrize("length", [b"\xff\x7f", b"\x00\x80", b"\x10\x00"], ids=["too long", "negative", "noise"])
def test_what_only_looks_like_one(length: bytes, server: RunningServer) -> None:
    noise = np.random.default_rng(3).integers(0, 256, 40_000, dtype=np.uint8).tobytes()
    status, code, detail = refusal(server, b"\x02#!SILK_V3" + length + noise)
    assert (status, code) == (422, "invalid_audio")
    assert "SILK" in detail


def test_without_the_package_it_is_named(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "pysilk" else found(name, *more)
    )
    status, code, detail = refusal(server, b"\x02#!SILK_V3" + bytes(99))
    assert (status, code) == (415, "unsupported_audio")
    assert "silk-python" in detail
