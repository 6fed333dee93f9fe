"""What a training looks like from outside: phases, power, loss. Pure and the same for the same seed."""

import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from kappawatt.units import US_PER_S

DATA, TRAIN, VALIDATE, CHECKPOINT = "data", "train", "validate", "checkpoint"

_GPU_PART = {DATA: 0.14, TRAIN: 0.88, VALIDATE: 0.58, CHECKPOINT: 0.17}
"""Mean GPU power in a phase, as a part of the power limit."""

_CPU_LOAD = {DATA: 0.62, TRAIN: 0.28, VALIDATE: 0.22, CHECKPOINT: 0.35}
"""Mean part of the CPUs that the run keeps busy in a phase."""

IDLE_GPU_PART = 0.1
WARM_UP_S = 90.0
"""Power rises for so long after training begins: compilation, cold caches, clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A kind of training: how long an epoch takes, where its loss goes, what it works on."""

    name: str
    project: str
    epoch_s: float
    epochs: int
    first_loss: float
    last_loss: float
    samples: int
    tokens: int = 0


def _model(
    name: str, project: str, epoch_s: float, epochs: int, loss: tuple[float, float], done: tuple[int, int]
) -> Model:
    first_loss, last_loss = loss
    samples, tokens = done
    return Model(
        name=name,
        project=project,
        epoch_s=epoch_s,
        epochs=epochs,
        first_loss=first_loss,
        last_loss=last_loss,
        samples=samples,
        tokens=tokens,
    )


MODELS = (
    _model("llama-tiny-1b", "language", 540, 6, (10.8, 2.9), (131_072, 268_435_456)),
    _model("vit-base", "vision", 300, 10, (6.9, 1.1), (1_281_167, 0)),
    _model("unet-segment", "earth", 210, 12, (1.4, 0.12), (84_000, 0)),
    _model("bert-finetune", "language", 150, 4, (2.3, 0.31), (392_702, 50_265_856)),
    _model("gnn-molecules", "chemistry", 120, 20, (0.9, 0.05), (130_831, 0)),
)


@dataclass(frozen=True, slots=True)
class Span:
    """A phase from *start_us* to *end_us* (µs UTC), of an epoch from 1; 0: before the first."""

    phase: str
    start_us: int
    end_us: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One run from its first phase to its last; spans follow each other without holes."""

    model: Model
    spans: tuple[Span, ...]
    status: str
    steadiness: float
    """Its own mean power against that of the phase, about 1."""

    @property
    def start_us(self) -> int:
        """When it begins, µs UTC."""
        return self.spans[0].start_us

    @property
    def end_us(self) -> int:
        """When it ends, µs UTC."""
        return self.spans[-1].end_us

    def span_at(self, at_us: int) -> Span | None:
        """The phase at an instant; None outside the run."""
        if not self.start_us <= at_us < self.end_us:
            return None
        return self.spans[bisect_right(self.spans, at_us, key=lambda span: span.start_us) - 1]


def training(rng: random.Random, start_us: int) -> Training:
    """A run that begins at *start_us*: data first; per epoch training, a validation dip, a checkpoint stall.

    One in twelve fails on the way.
    """
    model = rng.choice(MODELS)
    spans = list(_spans(rng, model, start_us))
    status = "succeeded"
    if rng.random() < 1 / 12:
        spans = spans[: rng.randrange(2, len(spans))]
        status = "failed"
    return Training(model=model, spans=tuple(spans), status=status, steadiness=rng.uniform(0.9, 1.05))


def _spans(rng: random.Random, model: Model, start_us: int) -> Iterator[Span]:
    at_us = start_us
    plan = [(DATA, model.epoch_s * 0.2, 0)]
    for epoch in range(1, model.epochs + 1):
        plan += [
            (TRAIN, model.epoch_s * 0.84, epoch),
            (VALIDATE, model.epoch_s * 0.12, epoch),
            (CHECKPOINT, model.epoch_s * 0.04, epoch),
        ]
    for phase, length_s, epoch in plan:
        end_us = at_us + round(length_s * rng.uniform(0.92, 1.08) * US_PER_S)
        yield Span(phase, at_us, end_us, epoch)
        at_us = end_us


def gpu_power_w(rng: random.Random, run: Training | None, at_us: int, limit_w: float) -> float:
    """Power of one GPU of the run at an instant, W: the phase's mean, a warm-up, jitter; idle without a run."""
    span = run.span_at(at_us) if run else None
    if run is None or span is None:
        return limit_w * IDLE_GPU_PART * rng.uniform(0.97, 1.03)
    part = _GPU_PART[span.phase] * run.steadiness
    if span.phase == TRAIN:
        first_us = next(each.start_us for each in run.spans if each.phase == TRAIN)
        warm = 1 - math.exp(-3 * (at_us - first_us) / US_PER_S / WARM_UP_S)
        part *= 0.6 + 0.4 * warm
    return limit_w * min(1.0, max(IDLE_GPU_PART, part * rng.gauss(1.0, 0.025)))


def cpu_load(rng: random.Random, run: Training | None, at_us: int) -> float:
    """Part of the CPUs that the run keeps busy at an instant, 0–1."""
    span = run.span_at(at_us) if run else None
    return 0.0 if span is None else min(1.0, max(0.0, _CPU_LOAD[span.phase] * rng.gauss(1.0, 0.08)))


def metrics(rng: random.Random, run: Training, epoch: int) -> dict[str, float]:
    """What the run reports at the end of an epoch: loss by a power law, accuracy, what was done."""
    model = run.model
    above = (epoch + 1) ** -1.4  # of the way from first to last loss, what is left
    loss = model.last_loss + (model.first_loss - model.last_loss) * above
    loss *= rng.gauss(1.0, 0.012)
    done = {"loss": round(loss, 5), "samples": float(model.samples)}
    done["accuracy"] = round(min(0.995, 0.97 - 0.75 * loss / model.first_loss), 5)
    if model.tokens:
        done["tokens"] = float(model.tokens)
    return done
