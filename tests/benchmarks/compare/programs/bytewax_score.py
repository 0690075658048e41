"""The job with Bytewax's own Kafka connectors, at least once; runs in an environment of its own.

Batches are scored together, as ``flat_map_batch`` allows. Positions are kept by Bytewax's recovery store.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module attribute
import job
import msgspec
from bytewax.connectors.kafka import (  # pyright: ignore[reportMissingTypeStubs] - a module attribute
    KafkaSink,
    KafkaSinkMessage,
    KafkaSource,
    KafkaSourceMessage,
)
from bytewax.dataflow import Dataflow
from bytewax.recovery import (
    RecoveryConfig,
    init_db_dir,  # pyright: ignore[reportUnknownVariableType] - untyped in bytewax
)
from bytewax.run import cli_main  # pyright: ignore[reportUnknownVariableType] - untyped in bytewax


class Event(msgspec.Struct, gc=False):
    """What comes in."""

    id: int
    user: int
    amount: float
    merchant: str
    ts: int
    country: str
    channel: str
    device: str


class Scored(msgspec.Struct, gc=False):
    """What goes out."""

    id: int
    user: int
    probability: float
    label: bool
    version: str


decode = msgspec.json.Decoder(Event).decode
encode = msgspec.json.Encoder().encode
model = job.Model()


def score(messages: list[KafkaSourceMessage[bytes, bytes]]) -> Iterable[KafkaSinkMessage[bytes, bytes]]:
    """Score a batch of events."""
    events = [decode(message.value) for message in messages]
    found = model.many(
        [event.amount for event in events], [event.ts for event in events], [event.user for event in events]
    )
    return [
        KafkaSinkMessage(message.key, encode(Scored(event.id, event.user, value, value > 0.5, job.VERSION)))
        for message, event, value in zip(messages, events, found, strict=True)
    ]


flow = Dataflow(job.APP)
source = KafkaSource([job.BROKERS], [job.SOURCE], add_config={"fetch.queue.backoff.ms": "5"}, batch_size=2048)
events = op.input("events", flow, source)
scored = op.flat_map_batch("score", events, score)  # pyright: ignore[reportArgumentType] - errors are raised, not passed on
sink = KafkaSink([job.BROKERS], job.TARGET, add_config={"compression.type": "lz4", "enable.idempotence": "true"})
op.output("scored", scored, sink)

if __name__ == "__main__":
    store = job.SCRATCH / "recovery"
    store.mkdir()
    init_db_dir(store, 1)
    cli_main(flow, epoch_interval=timedelta(seconds=job.COMMIT_SECONDS), recovery_config=RecoveryConfig(str(store)))
