"""What is to be read: a file, and what a request says of it that the file does not say itself."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pydantic import Field

from app.audio.clock import Clock
from app.audio.pcm import ENCODINGS, RawForm, form_of_content_type, raw_form
from app.vad.errors import InvalidOption
from app.vad.options import Options


@dataclass(frozen=True, slots=True)
class Headerless:
    """A coding whose files have no header and that is more than bare samples (`pcm`): each sample depends on those
    before it. ffmpeg decodes it when it is told which one it is. Its sound is mono."""

    container: str
    """What `audio.format` calls it; an entry of `CONTAINERS`."""
    demuxer: str
    """ffmpeg's, which hands over the file's bytes."""
    usual_rate: int
    """Hz, where nothing is said."""
    decoder: str | None = None
    """ffmpeg's, where the demuxer does not imply it; then the request may say the rate, too."""
    sample_rate: int | None = None
    """Hz, as the request says; None: the usual one."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """ffmpeg's, in front of the file."""
        if self.decoder is None:
            return ("-f", self.demuxer)
        rate = str(self.sample_rate or self.usual_rate)
        return ("-f", self.demuxer, "-ar", rate, "-ac", "1", "-c:a", self.decoder)


_VOX = Headerless("VOX", "alaw", 8_000, decoder="adpcm_ima_oki")
"""Dialogic's: 4 bits a sample. ffmpeg has no demuxer for it; that of A-law hands over bytes just as they come."""
HEADERLESS: Mapping[str, Headerless] = {
    "g722": Headerless("G722", "g722", 16_000),
    "g729": Headerless("G729", "g729", 8_000),
    "vox": _VOX,
    "adpcm_oki": _VOX,
}
"""As `encoding=` takes them."""


def find_headerless(name: str, sample_rate: int | None, channels: int | None) -> Headerless | None:
    """The coding of that name; None when there is none. Raises `InvalidOption` for a rate or a number of channels that
    it cannot have."""
    coding = HEADERLESS.get(name.lower())
    if coding is None:
        return None
    if channels not in (None, 1):
        raise InvalidOption("channels", f"{name.lower()} has one channel")
    if coding.decoder is None and sample_rate not in (None, coding.usual_rate):
        raise InvalidOption("sample_rate", f"{name.lower()} has {coding.usual_rate} Hz and no other rate")
    return coding if coding.decoder is None else replace(coding, sample_rate=sample_rate)


@dataclass(frozen=True, slots=True)
class AudioInput:
    """A file and how it is to be read."""

    path: Path
    """Where it lies; where `data` is, only once `on_disk` has been called."""
    raw: RawForm | None = None
    """Of bare samples; None: the file says what it is."""
    raw_for_certain: bool = True
    """Whether somebody has said so by name. A content type alone is believed only of a file that is nothing else:
    `audio/basic` is what programs call Sun's files with a header, too."""
    headerless: Headerless | None = None
    """Of a coding that no header tells and no table here decodes, such as G.722."""
    track: int | None = None
    """Which of several sounds, from 0; None: the container's default one, or the first that can be read."""
    clock: Clock = "samples"
    data: bytes | None = None
    """The whole file, where it is in memory."""
    spool: Callable[[], None] | None = None
    """Writes `data` to `path`; more than once is as good as once. To be given with `data`; its owner removes the
    file."""

    def open(self) -> BinaryIO:
        """A new reader of its bytes."""
        return self.path.open("rb") if self.data is None else io.BytesIO(self.data)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size if self.data is None else len(self.data)

    def on_disk(self) -> Path:
        """Where a child process finds it. Blocking. Raises OSError, and `Overloaded` where there is no space."""
        if self.spool is not None:
            self.spool()
        return self.path


class InputOptions(Options):
    """How the audio is read: options of every door that takes files."""

    track: int | None = Field(
        None,
        ge=0,
        le=63,
        description="Which of a file's sound tracks, from 0. Without it the container's default one, or else the first "
        "that can be read.",
    )
    clock: Clock = Field(
        "samples",
        description="What times count. `samples`: the samples, as FunASR does. `container`: a player's clock, with "
        "silence where packets were lost and where the sound begins later than the picture.",
    )
    encoding: str | None = Field(
        None,
        description=f"Of raw samples, which have no header: {', '.join(f'`{name}`' for name in ENCODINGS)}; "
        f"mono: {', '.join(f'`{name}`' for name in HEADERLESS)}. A "
        "`Content-Type` of `audio/L16`, `audio/L24` (both big-endian, as RFC 2586 and 3190 have them), `audio/basic`, "
        "`audio/PCMU`, `audio/PCMA` or `audio/pcm` (little-endian) says the same, with `rate` and `channels`.",
        json_schema_extra={"examples": [*ENCODINGS, *HEADERLESS]},
    )
    sample_rate: int | None = Field(
        None,
        ge=4_000,
        le=384_000,
        description="Of raw samples; without it 16000, for mu-law, A-law and `vox` 8000;"
        " `g722` and `g729` have their own.",
        json_schema_extra={"unit": "Hz"},
    )
    channels: int | None = Field(None, ge=1, le=8, description="Of raw samples, interleaved; without it 1.")

    def source(self, path: Path, content_type: str = "") -> AudioInput:
        """The input that these options and a media type make of a file. Raises `InvalidOption`."""
        plain = AudioInput(path, track=self.track, clock=self.clock)
        if self.encoding is not None:
            headerless = find_headerless(self.encoding, self.sample_rate, self.channels)
            if headerless is not None:
                return replace(plain, headerless=headerless)
            return replace(plain, raw=raw_form(self.encoding, self.sample_rate, self.channels))
        form = form_of_content_type(content_type)
        if form is not None:
            form = RawForm(form.encoding, self.sample_rate or form.sample_rate, self.channels or form.channels)
            return replace(plain, raw=form, raw_for_certain=False)
        for name in ("sample_rate", "channels"):
            if getattr(self, name) is not None:
                raise InvalidOption(name, "says how raw samples are to be read, and goes with encoding; files say it")
        return plain
