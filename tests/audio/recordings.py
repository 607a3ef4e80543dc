"""Recordings of a known signal in every format that can be written here."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from app.audio.decode import Decoder
from tests.audio.ffmpegs import encode

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """One way to write a recording."""

    name: str
    suffix: str
    container: str
    """What the service should call it."""
    rate: int = 16_000
    channels: int = 1
    subtype: str | None = None
    """For files that soundfile writes."""
    options: tuple[str, ...] = ()
    """For files that ffmpeg writes."""
    likeness: float = 0.9999
    """Least correlation with the original."""
    late: int = 0
    """Most samples by which the decoded signal may lag."""
    longer: int = 0
    """Most samples that the coding may add."""
    shorter: int = 0
    """Most samples that the coding may lose, at the beginning."""


def voice(seconds: float, rate: int, channels: int) -> Samples:
    """Tones with a syllable's envelope, other ones in each channel; float32 [n, channels], peaks below 0.5."""
    time = np.arange(round(seconds * rate)) / rate
    rows = []
    for channel in range(channels):
        pitch = 210 + 37 * channel
        envelope = 0.55 + 0.45 * np.sin(2 * np.pi * (1.3 + 0.6 * channel) * time + channel)
        glide = 2 * np.pi * (pitch * time + 40 * time**2)
        rows.append(0.25 * envelope * (np.sin(glide) + 0.5 * np.sin(2 * glide + 1)))
    return np.stack(rows, axis=1).astype(np.float32)


def write(recipe: Recipe, samples: Samples, folder: Path) -> Path:
    """The file. Raises LookupError when nothing here can encode it."""
    path = folder / f"{recipe.name}{recipe.suffix}"
    if recipe.subtype is not None:
        soundfile.write(path, samples, recipe.rate, subtype=recipe.subtype)
        return path
    plain = folder / f"{recipe.name}-plain.wav"
    soundfile.write(plain, samples, recipe.rate, subtype="FLOAT")
    return encode(plain, path, *recipe.options)


def decoded(decoder: Decoder, frames: int = 4_001) -> Samples:
    """All of it, in odd pieces; float32 [n, channels]."""
    blocks = [np.zeros((0, decoder.info.channels), dtype=np.float32)]
    while len(block := decoder.read(frames)):
        blocks.append(block)
    return np.concatenate(blocks)


def alike(decoded: Samples, original: Samples, late: int) -> tuple[float, int]:
    """Best correlation over lags of 0 to `late` samples (either way), and the lag that has it."""
    length = 1 << (len(decoded) + len(original)).bit_length()
    crossed = np.fft.irfft(np.fft.rfft(decoded, length) * np.conj(np.fft.rfft(original, length)), length)
    lags = np.arange(-late, late + 1)
    best = int(lags[np.argmax(crossed[lags])])
    size = float(np.linalg.norm(decoded) * np.linalg.norm(original))
    return float(crossed[best]) / size, best


def _wav(subtype: str, rate: int = 16_000, channels: int = 1, likeness: float = 0.9999, longer: int = 0) -> Recipe:
    name = f"wav-{subtype}-{rate}-{channels}"
    return Recipe(name, ".wav", "WAV", rate, channels, subtype, likeness=likeness, longer=longer)


def _ffmpeg(name: str, suffix: str, container: str, codec: str, rate: int, channels: int, *more: str,
            likeness: float = 0.99, late: int = 0, longer: int = 0, shorter: int = 0) -> Recipe:  # fmt: skip
    options = ("-c:a", codec, *more)
    return Recipe(name, suffix, container, rate, channels, None, options, likeness, late, longer, shorter)


RECIPES = [
    _wav("PCM_U8", 8_000, likeness=0.999),
    *(_wav("PCM_16", rate, channels) for rate in (8_000, 44_100, 48_000) for channels in (1, 2, 6)),
    _wav("PCM_24", 48_000, 2), _wav("PCM_32", 44_100), _wav("FLOAT", 16_000, 2), _wav("DOUBLE", 22_050),
    _wav("ALAW", 8_000, likeness=0.998), _wav("ULAW", 8_000, likeness=0.998),
    _wav("IMA_ADPCM", 16_000, likeness=0.998, longer=505),
    Recipe("flac-16", ".flac", "FLAC", 44_100, 2, "PCM_16"),
    Recipe("flac-24", ".flac", "FLAC", 48_000, 6, "PCM_24"),
    Recipe("aiff-16", ".aiff", "AIFF", 44_100, 2, "PCM_16"),
    Recipe("aiff-float", ".aiff", "AIFF", 16_000, 1, "FLOAT"),
    Recipe("caf-24", ".caf", "CAF", 48_000, 2, "PCM_24"),
    Recipe("caf-alac", ".caf", "CAF", 44_100, 2, "ALAC_16"),
    Recipe("rf64", ".rf64", "RF64", 16_000, 1, "PCM_16"),
    Recipe("w64", ".w64", "W64", 16_000, 2, "PCM_16"),
    Recipe("au", ".au", "AU", 8_000, 1, "ULAW", likeness=0.998),
    Recipe("mp3-soundfile", ".mp3", "MP3", 44_100, 1, "MPEG_LAYER_III", likeness=0.99, late=2_400, longer=4_800),
    _ffmpeg("mp3", ".mp3", "MP3", "libmp3lame", 44_100, 2, "-b:a", "128k"),
    _ffmpeg("mp3-low", ".mp3", "MP3", "libmp3lame", 8_000, 1, "-b:a", "16k"),
    _ffmpeg("m4a-aac", ".m4a", "MP4", "aac", 44_100, 2, "-b:a", "128k", longer=1_024),
    _ffmpeg("m4a-aac-6", ".m4a", "MP4", "aac", 48_000, 6, "-b:a", "384k", longer=1_024),
    _ffmpeg("m4a-alac", ".m4a", "MP4", "alac", 44_100, 1, likeness=0.9999),
    _ffmpeg("adts", ".aac", "AAC", "aac", 44_100, 1, "-b:a", "96k", late=2_048, longer=4_096),
    _ffmpeg("opus", ".opus", "OGG", "libopus", 48_000, 1, "-b:a", "48k"),
    _ffmpeg("opus-stereo", ".ogg", "OGG", "libopus", 48_000, 2, "-b:a", "96k"),
    _ffmpeg("vorbis", ".ogg", "OGG", "libvorbis", 44_100, 2),
    _ffmpeg("webm-opus", ".webm", "WEBM", "libopus", 48_000, 1, "-b:a", "48k", late=400, longer=960),
    _ffmpeg("mka-flac", ".mka", "MATROSKA", "flac", 44_100, 2, likeness=0.9999),
    _ffmpeg("wma", ".wma", "ASF", "wmav2", 44_100, 1, "-b:a", "96k",
            late=4_096, likeness=0.97, longer=8_192, shorter=2_048),
    _ffmpeg("amr", ".amr", "AMR", "libopencore_amrnb", 8_000, 1, "-b:a", "12.2k", likeness=0.8, late=120, longer=320),
    _ffmpeg("ac3", ".ac3", "AC3", "ac3", 48_000, 2, "-b:a", "192k", late=512, longer=3_072),
    _ffmpeg("wavpack", ".wv", "WAVPACK", "wavpack", 44_100, 1, likeness=0.9999),
    _ffmpeg("tta", ".tta", "TTA", "tta", 44_100, 1, likeness=0.9999),
    _ffmpeg("wav-ima", ".wav", "WAV", "adpcm_ima_wav", 16_000, 1, longer=2_048),
    _ffmpeg("ts-aac", ".ts", "MPEG-TS", "aac", 48_000, 2, "-b:a", "128k", late=2_048, longer=4_096),
    _ffmpeg("ts-mp2", ".ts", "MPEG-TS", "mp2", 48_000, 1, "-b:a", "128k", late=2_048, longer=4_096),
    _ffmpeg("flv-aac", ".flv", "FLV", "aac", 44_100, 1, "-b:a", "96k", late=2_048, longer=4_096),
    _ffmpeg("flv-mp3", ".flv", "FLV", "libmp3lame", 44_100, 1, "-b:a", "96k", late=2_500, longer=4_608),
    _ffmpeg("avi-pcm", ".avi", "AVI", "pcm_s16le", 16_000, 2, likeness=0.9999),
    _ffmpeg("avi-mp3", ".avi", "AVI", "libmp3lame", 44_100, 1, "-b:a", "96k", late=2_500, longer=4_608),
    _ffmpeg("mpg-mp2", ".mpg", "MPEG-PS", "mp2", 48_000, 2, "-b:a", "192k", late=2_048, longer=4_096),
    _ffmpeg("mxf", ".mxf", "MXF", "pcm_s16le", 48_000, 1, "-f", "mxf_opatom", likeness=0.9999, longer=2_000),
    _ffmpeg("latm", ".latm", "LATM", "aac", 44_100, 1, "-b:a", "96k", "-f", "latm", late=2_048, longer=4_096,
            shorter=4_096),
    _ffmpeg("dts", ".dts", "DTS", "dca", 48_000, 2, "-strict", "-2", "-b:a", "768k", late=1_024, longer=2_048),
    _ffmpeg("truehd", ".thd", "TRUEHD", "truehd", 48_000, 2, "-strict", "-2", "-f", "truehd", longer=80, shorter=80),
    _ffmpeg("rm", ".rm", "RM", "ac3", 44_100, 1, "-b:a", "96k", late=512, longer=4_096),
    _ffmpeg("wav-g722", ".wav", "WAV", "g722", 16_000, 1, likeness=0.98, late=32, longer=64),
    _ffmpeg("wav-g723", ".wav", "WAV", "g723_1", 8_000, 1, "-b:a", "6300", likeness=0.5, late=300, longer=480),
    _ffmpeg("wav-g726", ".wav", "WAV", "g726", 8_000, 1, likeness=0.95, longer=64),
    _ffmpeg("wav-gsm", ".wav", "WAV", "libgsm_ms", 8_000, 1, likeness=0.8, longer=640),
    _ffmpeg("gsm", ".gsm", "GSM", "libgsm", 8_000, 1, "-f", "gsm", likeness=0.8, longer=640),
    _ffmpeg("mp2", ".mp2", "MP3", "mp2", 48_000, 1, "-b:a", "128k", late=2_048, longer=4_096),
    _ffmpeg("3gp", ".3gp", "MP4", "aac", 16_000, 1, longer=1_024),
]  # fmt: skip
