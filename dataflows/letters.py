"""Where the flow lists what it could not count: topic `dead_letter`, in files."""

import os
from pathlib import Path

from kappawatt.log.files import FileWriter
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter


class FileLetters:
    """Dead letters as Avro files beside the log; made with the first letter.

    After a crash the last epoch's letters may be there twice: (source, position) tells.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: FileWriter | None = None

    def __repr__(self) -> str:
        return f"<FileLetters {self._folder}>"

    def write(self, letters: list[DeadLetter]) -> None:
        """Append."""
        if self._writer is None:
            self._writer = FileWriter(self._folder, "dead_letter", f"flow.{os.getpid()}")
        self._writer.append([codec.encode("dead_letter", letter.to_avro()) for letter in letters])

    def flush(self) -> None:
        """Survive a power cut from here on."""
        if self._writer is not None:
            self._writer.sync()
