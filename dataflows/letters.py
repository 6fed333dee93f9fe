"""Where the flow lists what it could not count: topic `dead_letter`, in files."""

import os
from dataclasses import replace
from pathlib import Path

from kappawatt.log.files import FileWriter
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter

MAX_PAYLOAD_BYTES = 900_000
"""A record in Kafka may have 1 MB by default, its letter has more around it."""


def letter_datum(letter: DeadLetter) -> bytes:
    """A letter that every log takes: of a long payload the beginning, its position tells where all of it is."""
    return codec.encode("dead_letter", replace(letter, payload=letter.payload[:MAX_PAYLOAD_BYTES]).to_avro())


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
        self._writer.append([letter_datum(letter) for letter in letters])

    def flush(self) -> None:
        """Survive a power cut from here on."""
        if self._writer is not None:
            self._writer.sync()
