"""Who and where: names of runs, the host, the user, the place in a distributed job. Facts come in as arguments."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

RUN_ID, JOIN = "KAPPAWATT_RUN_ID", "KAPPAWATT_JOIN"
"""Environment of a child: the run it belongs to, and the host on which that run is being measured already."""

_LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK")
_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
_JOBS = ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A process in its distributed job; a process on its own is rank None, local rank 0."""

    rank: int | None
    local_rank: int
    peers: int
    """Processes of the job on this host, this one included."""
    job: str | None
    """What the launcher calls the job, the same on all hosts; None without a launcher."""


def place(environ: Mapping[str, str]) -> Place:
    """The place that torchrun, Slurm or Open MPI says in *environ*.

    >>> place({"LOCAL_RANK": "1", "RANK": "9", "WORLD_SIZE": "16", "TORCHELASTIC_RUN_ID": "j7"})
    Place(rank=9, local_rank=1, peers=1, job='j7')
    >>> place({})
    Place(rank=None, local_rank=0, peers=1, job=None)
    """
    # The three names of one launcher go together: Slurm sets its own for any batch step, also with torchrun inside.
    local, rank = next(
        (
            (environ[a], environ.get(b))
            for a, b in zip(_LOCAL_RANKS, _RANKS, strict=True)
            if _whole(environ.get(a)) is not None
        ),
        ("0", environ.get("RANK")),
    )
    peers = _whole(environ.get("LOCAL_WORLD_SIZE")) or _whole(environ.get("OMPI_COMM_WORLD_LOCAL_SIZE")) or 1
    many = (_whole(environ.get("WORLD_SIZE")) or _whole(environ.get("SLURM_NTASKS")) or 1) > 1
    job = next((environ[name] for name in _JOBS if environ.get(name) not in (None, "", "none")), None)
    return Place(rank=_whole(rank), local_rank=_whole(local) or 0, peers=peers, job=job if many else None)


def run_id(name: str | None, *, now: str, token: str) -> str:
    """An id that a person recognises: name, UTC time *now* (`YYYYMMDD-HHMMSS`) and a random *token*.

    >>> run_id("Digits, MLP!", now="20261121-093000", token="4f2a1c")
    'digits-mlp-20261121-093000-4f2a1c'
    """
    return f"{slug(name or 'run')}-{now}-{token}"


def slug(name: str) -> str:
    """*name* as lower-case words with dashes, 40 signs at most.

    >>> slug("../Größe 7"), slug("~~")
    ('gr-e-7', 'run')
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-") or "run"


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
