"""Data files that ship with kappawatt, found in both homes: inside the package (wheel) or beside it (checkout)."""

from pathlib import Path


def data_dir(name: str) -> Path:
    """Folder of data files: `avro` or `cassandra`.

    >>> (data_dir("avro") / "sample.avsc").is_file()
    True
    """
    # not importlib.resources: it takes 10 ms to import, inside the user's training
    packaged = Path(__file__).with_name(name)
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / name
