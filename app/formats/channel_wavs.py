"""`format=wav` with `channel=split`: a zip with the speech of each channel as one WAV, and the table of segments."""

from collections.abc import Iterator

from zipstream import ZIP_STORED, ZipStream

from app.formats.excerpts import stream_wav
from app.formats.rendering import Answering, Renderer
from app.formats.report import Report
from app.formats.tables import csv_text


class ChannelWavsRenderer(Renderer):
    """The source is opened once for each channel; nothing longer than a block is held."""

    def __init__(self, answering: Answering) -> None:
        self._blocks, self._options = answering.blocks, answering.excerpts

    def finish(self, report: Report) -> Iterator[bytes]:
        """The archive, piece by piece."""
        archive = ZipStream(compress_type=ZIP_STORED)
        for alone in report.apart():
            channel = alone.channels[0].channel
            archive.add(stream_wav(alone, self._blocks(), self._options), f"{report.name}_ch{channel}.wav")
            yield from archive.all_files()
        archive.add(csv_text(report).encode(), "segments.csv")
        yield from archive.finalize()
