"""Data files that ship with kappawatt, found in both homes: inside the package (wheel) or beside it (checkout)."""

from importlib.resources import files
from pathlib import Path


def data_dir(name: str) -> Path:
    """Folder of data files: `avro` or `cassandra`.

    >>> (data_dir("avro") / "sample.avsc").is_file()
    True
    """
    packaged = Path(str(files("kappawatt"))) / name
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / name
