"""FireRedVAD by its own package, files read as it reads them. `--variant`: VAD or Stream-VAD; `--model`: the
repository's directory."""

from pathlib import Path

from measured import Detect, arguments, measure

given = arguments()


def load() -> Detect:
    """torch is set to the cores given."""
    import torch

    torch.set_num_threads(given.cores)
    folder = Path(given.model) / given.variant
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not here")
    if given.variant == "VAD":
        from fireredvad.vad import FireRedVad

        vad = FireRedVad.from_pretrained(str(folder))
        return lambda path: len(vad.detect(str(path))[0]["timestamps"])
    from fireredvad.stream_vad import FireRedStreamVad

    stream = FireRedStreamVad.from_pretrained(str(folder))
    return lambda path: len(stream.detect_full(str(path))[1]["timestamps"])


measure(given, load)
