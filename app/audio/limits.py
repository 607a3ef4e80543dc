"""What an audio file may be."""

from dataclasses import dataclass

MAX_MAGNITUDE = 1e6
"""Largest sample, in files and live; full scale is 1. Larger ones are damage, and NaN and infinity count as larger."""


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Bounds that every decoder enforces; the decoder's child process gets the memory and processor ones."""

    max_seconds: float
    """Longest audio, counted in decoded samples."""
    min_rate: int = 4_000
    """Hz. Speech below it, half of a telephone's rate, is not to be understood."""
    max_rate: int = 384_000
    """Hz, the highest of studio equipment."""
    max_channels: int = 8
    """As many as 7.1 has."""
    max_magnitude: float = MAX_MAGNITUDE
    child_memory_mb: int = 1_024
    """MiB of address space."""
    child_cpu_s_per_hour: int = 60
    """Processor seconds for each hour of audio that is allowed."""
    child_silence_s: float = 30
    """s. A child that gives nothing for so long hangs: none of the codecs thinks for a second before it goes on."""
    child_cpu_floor_s: int = 30
    """Processor seconds that are allowed however short the audio must be."""

    @property
    def child_cpu_s(self) -> int:
        """Processor seconds a decoding child may use."""
        return max(self.child_cpu_floor_s, int(self.child_cpu_s_per_hour * self.max_seconds / 3600))
