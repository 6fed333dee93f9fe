"""The file log: a folder with one sub-folder a topic of Avro container files, written and read in columns."""

from pathlib import Path

from kappawatt.log import names
from kappawatt.log.file_reader import Chunk, FilePartition
from kappawatt.log.file_writer import SEGMENT_BYTES, FileWriter
from kappawatt.log.names import partitions
from kappawatt.wire import codec

__all__ = ["SEGMENT_BYTES", "Chunk", "FileLog", "FilePartition", "FileWriter", "partitions"]


class FileLog:
    """The file log in *directory*, which need not be there yet."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)

    def topics(self) -> list[str]:
        """Topics that have at least one file."""
        return [topic for topic in codec.TOPICS if names.files(self.directory, topic)]

    def partitions(self, topic: str) -> list[str]:
        """The source partitions of *topic*, sorted; more may come while collectors start."""
        return names.partitions(self.directory, topic)

    def partition(self, topic: str, name: str) -> FilePartition:
        """A reader of one source partition."""
        return FilePartition(self.directory, topic, name)

    def writer(self, topic: str, partition: str) -> FileWriter:
        """The one writer of *partition*."""
        return FileWriter(self.directory, topic, partition)

    def __repr__(self) -> str:
        counts = ", ".join(f"{topic} {len(names.files(self.directory, topic))}" for topic in self.topics())
        return f"<FileLog {self.directory} files: {counts or 'none'}>"
