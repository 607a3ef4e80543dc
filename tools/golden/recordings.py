"""The public recordings that golden files are made from: where each is published, and the SHA-256 of its bytes.

A recording is only ever taken when its bytes are these, wherever it came from, because golden segments belong to bytes
and not to names.
"""

import hashlib
import shutil
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_FUNASR_SAMPLES = "https://isv-data.oss-cn-hangzhou.aliyuncs.com/ics/MaaS/ASR/test_audio"
_FUNASR = "https://raw.githubusercontent.com/modelscope/FunASR/702ec03ad89d5c62e97eed770a6882d6412f8d58"
_SILERO = "https://raw.githubusercontent.com/snakers4/silero-vad"
_FIRERED = "https://raw.githubusercontent.com/FireRedTeam/FireRedVAD/4ad2102d57435a8de97ba0e3726d5742000454ce"
# A server that says nothing for this long is given up; the largest recording is 2.3 MB.
_PATIENCE_S = 60


class WrongRecording(Exception):
    """The bytes of a recording are not the published ones; the message says which file and which hashes."""


@dataclass(frozen=True)
class Recording:
    """One published audio file."""

    name: str
    """As the golden files and the tests call it."""
    url: str
    sha256: str


RECORDINGS: Sequence[Recording] = (
    Recording(
        "vad_example.wav",
        f"{_FUNASR_SAMPLES}/vad_example.wav",
        "a7431f0169ef76ef630c945a1d2c3675d8c8c2df2ae4a6b16f8a88ba1bccfbbb",
    ),
    Recording(
        "asr_example.wav",
        f"{_FUNASR_SAMPLES}/asr_example_zh.wav",
        "a1bd32dc78493c123f9625a66deee562aed2895f53fbc39f2cca3be7e6f4f20f",
    ),
    Recording(
        "funasr_long.wav",
        f"{_FUNASR}/runtime/triton_gpu/client/test_wavs/long.wav",
        "5122b52f587372f857a46c9e77c1b1455e0cf039e6b254c29afddbaba54fd38e",
    ),
    Recording(
        "funasr_mid.wav",
        f"{_FUNASR}/runtime/triton_gpu/client/test_wavs/mid.wav",
        "6d076533c77c2246ea8045d40f2f258a1ae4295d4139bfc0456db99cdd00303a",
    ),
    Recording(
        "silero_test.wav",
        f"{_SILERO}/fbddc91a5d51f5f448f9c158b327ddf75b9355ad/tests/data/test.wav",
        "89f17d9c94c4b31eb320f424628bcbc920abaddbee6e2760fd868bfb1d9a2e47",
    ),
    Recording(
        "silero_test.opus",
        f"{_SILERO}/b1cd34aae2de943be41292c3adbf887fbb3a9155/tests/data/test.opus",
        "8c009ea434e0323f453dc311f03d980929406af6c44c34897503f0b01e84265e",
    ),
    Recording(
        "firered_hello_zh.wav",
        f"{_FIRERED}/assets/hello_zh.wav",
        "e09abc88000e7186e9e11b4ba9ae04ea79af2173e2fc583cf8b25e0d36199061",
    ),
    Recording(
        "firered_hello_en.wav",
        f"{_FIRERED}/assets/hello_en.wav",
        "92d353353bf8955d8561d813ac0920adcabfbf6c67aa65369df44b4f86989e24",
    ),
    Recording(
        "firered_event.wav",
        f"{_FIRERED}/assets/event.wav",
        "e01931cdae2e017cdb8a753f81a6068d565eba12755a6c6229f051f1b2792907",
    ),
)


def gather(folder: Path, *, local: Path | None = None, recordings: Sequence[Recording] = RECORDINGS) -> None:
    """Put every recording into `folder`: from the folder `local` where one is given, and then from nowhere else, or
    from where it is published. What lies there already with the right bytes is kept.

    Raises `WrongRecording`, and `OSError` for what cannot be had (`urllib.error.URLError` is one).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for recording in recordings:
        place = folder / recording.name
        if place.is_file() and sha256(place) == recording.sha256:
            continue
        part = place.with_name(f"{place.name}.part")
        if local is not None:
            shutil.copyfile(local / recording.name, part)
        else:
            _download(recording.url, part)
        _check(part, recording)
        part.replace(place)


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _download(url: str, to: Path) -> None:
    with urllib.request.urlopen(url, timeout=_PATIENCE_S) as answer, to.open("wb") as file:
        shutil.copyfileobj(answer, file)


def _check(part: Path, recording: Recording) -> None:
    found = sha256(part)
    if found != recording.sha256:
        part.unlink()
        raise WrongRecording(f"{recording.name}: SHA-256 {found}, and {recording.sha256} is wanted ({recording.url})")
