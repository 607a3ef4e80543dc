"""funasr-onnx: the same weights in ONNX Runtime. Reads WAV only, without a further package."""

from pathlib import Path

from measured import Detect, arguments, measure

given = arguments()


def load() -> Detect:
    """Needs the exported model beside it; nothing is exported here."""
    if not (Path(given.model) / "model.onnx").is_file():
        raise FileNotFoundError("no directory with the model as ONNX (set VAD_REFERENCE_DATA)")
    from funasr_onnx import Fsmn_vad

    model = Fsmn_vad(given.model, quantize=False, intra_op_num_threads=given.cores)
    return lambda path: len(model(str(path))[0])


measure(given, load)
