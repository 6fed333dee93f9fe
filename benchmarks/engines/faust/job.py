"""The job in Faust: two agents that take messages in batches, tables with changelogs, a topic by run between them."""

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections import defaultdict
from functools import partial
from typing import Any

import faust
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tick import RING, SLOT_US, WIDE_US, Intensities, decoder, pieces, row, setting, whole_topic

LATENESS_US = int(setting("LATENESS_S")) * 1_000_000
KEPT_US = 3_600_000_000
PARTITIONS = 16
MASK = (1 << RING) - 1


class Job:
    """One pass. taken, sent and received: messages until now, to know when a catch-up is over."""

    def __init__(self, number: int, intensities: Intensities) -> None:
        self.intensities, self.decode = intensities, decoder("sample", last="energy_uj")
        self.number, self.taken, self.sent, self.received = number, 0, 0, 0
        name = f"{setting('GROUP')}-{number}"
        self.app = app = faust.App(
            name,
            broker=f"kafka://{setting('BOOTSTRAP')}",
            store="memory://",
            topic_partitions=PARTITIONS,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            broker_commit_interval=5.0,
            # Started again after a kill it is the same member, and nobody waits for the dead one.
            consumer_group_instance_id=name,
            broker_max_poll_records=5_000,
            stream_buffer_maxsize=16_384,
            stream_wait_empty=False,
            producer_linger=0.02,
            web_enabled=False,
        )
        raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
        make_topic(f"{name}-by-run")
        samples = app.topic(setting("SAMPLES"), partitions=PARTITIONS, **raw)
        self.by_run = app.topic(f"{name}-by-run", partitions=PARTITIONS, internal=True, **raw)
        self.output = app.topic(f"{setting('OUTPUT')}-{number}", partitions=4, **raw)
        # A batch has messages of several partitions, so a table's partition is that of its key.
        self.collectors = app.Table("collectors", partitions=PARTITIONS, use_partitioner=True)
        self.counts = app.Table("counts", partitions=PARTITIONS, use_partitioner=True, default=int)
        self.rows = app.Table("rows", partitions=PARTITIONS, use_partitioner=True)
        app.agent(samples)(self.cut)
        app.agent(self.by_run)(self.add)

    async def known(self) -> None:
        """Let the producer hear of the changelogs: a table that asks for their partitions before that crashes."""
        producer = self.app.producer._ensure_producer()
        for table in (self.collectors, self.counts, self.rows):
            await producer.partitions_for(table.changelog_topic.get_topic_name())

    async def cut(self, stream: Any) -> None:
        """Ticks → the sums of each run and 5-s window in a batch, to the topic by run."""
        await self.known()
        async for messages in stream.take(2_000, within=0.5):
            seen: dict[str, list[Any]] = {}
            counts: dict[str, int] = defaultdict(int)
            runs: dict[str, dict[tuple[bool, int], list[Any]]] = defaultdict(dict)
            for message in messages:
                tick = self.decode(message)
                verdict = "dead" if tick is None else self.verdict(seen, tick)
                counts[verdict] += 1
                if tick is None or verdict == "duplicate":
                    continue
                cells = runs[tick["run_id"]]
                for slot, sums in pieces(tick):
                    sums = [*sums, self.intensities.grams(tick["zone"], slot, sums[0])]
                    key = verdict == "late", slot
                    cells[key] = [a + b for a, b in zip(cells[key], sums, strict=True)] if key in cells else sums
            for name, state in seen.items():
                self.collectors[name] = [state[0], f"{state[1]:x}", state[2]]
            for run, cells in runs.items():
                value = [[late, slot, sums] for (late, slot), sums in cells.items()]
                await self.by_run.send(key=run.encode(), value=json.dumps(value).encode())
            for kind in counts.keys() - {"on time"}:
                self.counts[kind] += counts[kind]
                value = json.dumps({"n": self.counts[kind]}).encode()
                await self.output.send(key=f"count|{kind}|0".encode(), value=value)
            self.sent += len(runs)
            self.taken += len(messages)

    def verdict(self, seen: dict[str, list[Any]], tick: dict[str, Any]) -> str:
        """duplicate, late or on time, by the numbers that a collector has sent and by its clock."""
        name, seq, end = tick["collector_id"], tick["seq"], tick["end"]
        if name not in seen:
            newest, bits, clock = self.collectors.get(name) or (-1, "0", 0)
            seen[name] = [newest, int(bits, 16), clock]
        newest, bits, clock = seen[name]
        ahead = seq - newest
        if ahead <= 0 and bits >> -ahead & 1:
            return "duplicate"
        bits = (bits << min(ahead, RING) | 1) & MASK if ahead > 0 else bits | 1 << -ahead
        seen[name] = [max(newest, seq), bits, max(clock, end)]
        last = (end - 1) // WIDE_US * WIDE_US + WIDE_US
        return "late" if last + LATENESS_US <= max(clock, end) - SLOT_US else "on time"

    async def add(self, stream: Any) -> None:
        """Sums by run → windows and totals."""
        await self.known()
        async for events in stream.take_events(200, within=0.2):
            changed: dict[str, list[Any]] = {}
            for event in events:
                run = event.key.decode()
                for late, slot, sums in json.loads(event.value):
                    self.grow(changed, f"{run}|total|0", [sums[0], sums[6]])
                    if not late:
                        self.grow(changed, f"{run}|5|{slot}", sums)
                        self.grow(changed, f"{run}|300|{slot - slot % WIDE_US}", sums)
                        self.rows.pop(f"{run}|5|{slot - KEPT_US}", None)
            for key, sums in changed.items():
                self.rows[key] = sums
                total = {"energy_uj": sums[0], "emissions_g": sums[-1]}
                value = row(sums) if len(sums) > 2 else json.dumps(total).encode()
                await self.output.send(key=key.encode(), value=value)
            self.received += len(events)

    def grow(self, changed: dict[str, list[Any]], key: str, sums: list[Any]) -> None:
        before = changed.get(key) or self.rows.get(key)
        changed[key] = [a + b for a, b in zip(before, sums, strict=True)] if before else sums

    def run(self, end: int | None) -> None:
        """Until *end* messages are through; None: for ever. The worker has the loop that the app was made with."""
        worker = faust.Worker(self.app, override_logging=False, redirect_stdouts=False)
        self.app.task(partial(self.watch, worker, end))
        with contextlib.suppress(SystemExit):
            worker.execute_from_commandline()

    async def watch(self, worker: faust.Worker, end: int | None) -> None:
        """Says when the job reads, and ends the worker when all is through."""
        if end is None:
            print("BENCH ready", flush=True)
            return
        while self.taken < end or self.received < self.sent:
            await asyncio.sleep(0.1)
        await self.app.producer.flush()
        print(f"BENCH end {self.number}", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)


def make_topic(name: str) -> None:
    """Before the worker: its consumer leaves out for long what is not there when it joins."""
    admin = AdminClient({"bootstrap.servers": setting("BOOTSTRAP")})
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1)], operation_timeout=30).values():
        with contextlib.suppress(KafkaException):  # there already: started again after a kill
            made.result(timeout=30)


def messages_now() -> int:
    """How many messages the topic of ticks holds."""
    consumer = Consumer({"bootstrap.servers": setting("BOOTSTRAP"), "group.id": setting("GROUP")})
    each = (consumer.get_watermark_offsets(TopicPartition(setting("SAMPLES"), p)) for p in range(PARTITIONS))
    return sum(high - low for low, high in each)


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    intensities = Intensities(whole_topic(setting("INTENSITY")))
    if setting("MODE") == "live":
        Job(1, intensities).run(None)
    else:
        print("BENCH start 1", flush=True)
        Job(1, intensities).run(messages_now())


if __name__ == "__main__":
    main()
