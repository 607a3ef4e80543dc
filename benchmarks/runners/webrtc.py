"""WebRTC's VAD: no network, a mixture model of a few bands. 30 ms frames; a run of speech is a segment."""

from pathlib import Path

from measured import Detect, arguments, measure

given = arguments()
_FRAME_S = 0.03


def load() -> Detect:
    """Aggressiveness 2, of 0 to 3."""
    import soundfile
    import webrtcvad

    def detect(path: Path) -> int:
        vad, segments, inside = webrtcvad.Vad(2), 0, False
        with soundfile.SoundFile(path) as audio:
            frame = round(audio.samplerate * _FRAME_S)
            while len(block := audio.read(frame * 2000, dtype="int16")):
                data = block.tobytes()
                for start in range(0, len(data) - 2 * frame + 1, 2 * frame):
                    speech = vad.is_speech(data[start : start + 2 * frame], audio.samplerate)
                    segments += speech and not inside
                    inside = speech
        return segments

    return detect


measure(given, load)
