"""What a request may say of its audio that the file does not say itself: options of every door that takes files."""

from pathlib import Path

from pydantic import Field

from app.audio.clock import Clock
from app.audio.headerless import HEADERLESS, find_headerless
from app.audio.input import AudioInput
from app.audio.pcm import ENCODINGS, RawForm, form_of_content_type, raw_form
from app.vad.errors import InvalidOption
from app.vad.options import Options


class InputOptions(Options):
    """How the audio is read."""

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
        if self.encoding is not None:
            headerless = find_headerless(self.encoding, self.sample_rate, self.channels)
            if headerless is not None:
                return AudioInput(path, headerless=headerless, track=self.track, clock=self.clock)
        form = self._form(content_type)
        return AudioInput(path, form, self.encoding is not None, track=self.track, clock=self.clock)

    def _form(self, content_type: str) -> RawForm | None:
        if self.encoding is not None:
            return raw_form(self.encoding, self.sample_rate, self.channels)
        form = form_of_content_type(content_type)
        if form is not None:
            return RawForm(form.encoding, self.sample_rate or form.sample_rate, self.channels or form.channels)
        named = next((name for name in ("sample_rate", "channels") if getattr(self, name) is not None), None)
        if named is not None:
            raise InvalidOption(named, "says how raw samples are to be read, and goes with encoding; files say it")
        return None
