"""One run's measuring on one host: by its own sampler, or by the host's agent if one runs."""

import itertools
import logging
from dataclasses import replace
from pathlib import Path

from kappawatt.neighbours import open_neighbours
from kappawatt.sensors.host import Host, ProcessTree
from kappawatt.sensors.sampler import Sampler
from kappawatt.sensors.selection import select
from kappawatt.settings import Settings
from kappawatt.units import US_PER_S
from kappawatt.wire.records import Hardware, Sample

_log = logging.getLogger("kappawatt")


class Measuring:
    """Samples of run *run_id*, and of nobody if no other process writes those. The baseline is set when it is made.

    Args:
        settings: Zone, period, TDP and the spool's folder.
        whole_host: All that the host uses is the run's.
    """

    def __init__(
        self, settings: Settings, *, run_id: str, host: Host, host_name: str, collector_id: str, whole_host: bool
    ) -> None:
        self._run_id, self._host, self._whole_host = run_id, host, whole_host
        self._seq = itertools.count()
        self._began = self._owned = False
        self._tree: ProcessTree | None = None
        self._neighbours, self.agent = open_neighbours(Path(settings.spool), host, host_name=host_name, run_id=run_id)
        self._sampler: Sampler | None = None
        if self.agent is None:
            self._sampler = Sampler(
                select(Path(settings.powercap), host=host, cpu_tdp_w=settings.cpu_tdp_w),
                host,
                host_name=host_name,
                zone=settings.zone,
                collector_id=collector_id,
                whole=run_id if whole_host else None,
                period_us=round(settings.period_s * US_PER_S),
            )

    def __repr__(self) -> str:
        return f"<Measuring {self._run_id} by {self.agent or self._sampler}; {self._neighbours}>"

    def follow(self, pid: int) -> None:
        """Take the tree below process *pid* for the run's.

        Raises:
            SourceGone: There is no such process.
        """
        self._tree = self._host.tree(pid)
        if self._neighbours is None:
            return
        try:
            self._neighbours.register(pid, by_itself=self.agent is None)
        except OSError as error:
            _log.warning("kappawatt: run %s is not seen by others on this host: %s", self._run_id, error)

    def hardware(self) -> tuple[Hardware, ...]:
        """The devices; none when the agent measures."""
        return self._sampler.hardware() if self._sampler else ()

    def tick(self, *, final: bool = False) -> list[Sample]:
        """The samples to write since the last tick; none for the first (the baseline)."""
        if self._sampler is None:
            return []
        trees = dict(self._neighbours.others()) if self._neighbours and not self._whole_host else {}
        if self._tree is not None:
            trees[self._run_id] = self._tree
        # Nobody's part is written only for intervals that began after the devices became ours: the one that had them
        # before may have written up to a moment ago. So they are taken before the sensors are read.
        owned, owns = self._owned, self._owns_devices()
        samples = self._sampler.sample(trees, final=final)
        if samples or not self._began:
            self._began, self._owned = True, owns
        ours = {self._run_id, None} if owned else {self._run_id}
        return [replace(sample, seq=next(self._seq)) for sample in samples if sample.run_id in ours]

    def close(self) -> None:
        """Let others have the devices."""
        if self._neighbours is not None:
            self._neighbours.leave()

    def _owns_devices(self) -> bool:
        return self._neighbours is not None and self._neighbours.own(d.device for d in self.hardware())
