"""Where the program ffmpeg is to be found."""

import os
import shutil
from pathlib import Path


def find_ffmpeg(configured: str | None) -> Path | None:
    """The ffmpeg to use: `configured`, else the one in the imageio-ffmpeg package, else the PATH's; None if there is
    none.

    Raises FileNotFoundError when the configured one is not there.
    """
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise FileNotFoundError(f"VAD_FFMPEG: {configured} is not an executable file")
        return Path(found).resolve()
    bundled = _bundled_ffmpeg()
    if bundled is not None:
        return bundled
    on_path = shutil.which("ffmpeg")
    return Path(on_path) if on_path else None


def _bundled_ffmpeg() -> Path | None:
    # Found by hand: the package's own function falls back to the PATH and raises, and importing it takes longer.
    try:
        import imageio_ffmpeg  # noqa: PLC0415 - absent where a system ffmpeg is wanted
    except ImportError:
        return None
    binaries = Path(imageio_ffmpeg.__file__).parent / "binaries"
    return next((path for path in sorted(binaries.glob("ffmpeg*")) if os.access(path, os.X_OK)), None)
