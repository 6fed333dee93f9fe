"""Dead letters on a topic of Kafka."""

import logging
import time
from collections.abc import Iterable

from kappawatt.errors import LogError
from kappawatt.log.failures import Failure
from kappawatt.log.kafka import KafkaLog, KafkaProducer
from kappawatt.retry import Outage
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter
from kappawatt.wire.registry import Registry

from .letters import letter_datum
from .patience import Patience

_LOGGER = logging.getLogger("kappawatt.flow")
_LONG_S = 10.0


class KafkaLetters:
    """Dead letters on topic `dead_letter`, keyed by source position: a repeat after a crash has the same key.

    While brokers or the registry are away, `write` and `flush` wait: a letter that is lost is a sample lost in silence.
    """

    def __init__(self, log: KafkaLog, registry: Registry) -> None:
        self._log, self._registry = log, registry
        self._patience = Patience("registering the dead letters' schema")
        self._outage = Outage(_LOGGER, "writing dead letters", now=time.monotonic)
        self._producer: KafkaProducer | None = None
        self._schema_id = 0
        self._failed: Failure | None = None

    def __repr__(self) -> str:
        return f"<KafkaLetters {self._log!r}>"

    def write(self, letters: Iterable[DeadLetter]) -> None:
        """Hand over to the client; waits while it holds too many.

        Raises:
            LogError: The registry refuses the schema.
        """
        if self._producer is None:
            self._schema_id = self._patience.ask(lambda: self._registry.register("dead_letter"))
            self._producer = self._log.producer()
        for letter in letters:
            key = f"{letter.source}@{letter.position}".encode()
            value = codec.frame(self._schema_id, letter_datum(letter))
            while not self._producer.send("dead_letter", key, value, self._done):
                self._producer.poll(0.1)

    def flush(self) -> None:
        """Return when all copies have all letters.

        Raises:
            LogError: Kafka refuses them.
        """
        if self._producer is not None:
            self._wait(self._producer)
        if self._failed is not None:
            raise LogError(f"a dead letter was refused: {self._failed.text}")

    def _wait(self, producer: KafkaProducer) -> None:
        since = time.monotonic()
        while producer.pending:
            producer.poll(0.1)
            if time.monotonic() - since > _LONG_S:
                said = producer.failure.text if producer.failure else "no answer"
                self._outage.failed(f"{producer.pending} do not reach {self._log!r} ({said}); waiting until they do")
        self._outage.worked()

    def _done(self, failure: Failure | None) -> None:
        self._failed = failure or self._failed
