"""The job with Faust, in its exactly-once mode; runs in an environment of its own.

Faust writes outside of any transaction to a topic that its worker does not read
(https://github.com/faust-streaming/faust/issues/177), as here: reading what was written would be more work than others
have.
"""

from __future__ import annotations

import faust  # pyright: ignore[reportMissingModuleSource] - in an environment of its own
import job

app = faust.App(
    job.APP,
    broker="kafka://" + job.BROKERS,
    processing_guarantee="exactly_once",
    consumer_auto_offset_reset="earliest",
    broker_session_timeout=6.0,
    broker_heartbeat_interval=1.0,
    broker_commit_interval=job.COMMIT_SECONDS,
    topic_partitions=2,
    topic_replication_factor=1,
    web_enabled=False,
)
model = job.Model()


class Event(faust.Record, serializer="json"):
    """What comes in."""

    id: int
    user: int
    amount: float
    merchant: str
    ts: int
    country: str
    channel: str
    device: str


class Scored(faust.Record, serializer="json", include_metadata=False):
    """What goes out."""

    id: int
    user: int
    probability: float
    label: bool
    version: str


events = app.topic(job.SOURCE, key_type=bytes, value_type=Event)
scored = app.topic(job.TARGET, key_type=bytes, value_type=Scored)


@app.agent(events)
async def score(stream: faust.StreamT[Event]) -> None:
    """Score one event after the other."""
    async for key, event in stream.items():
        probability = model.one(event.amount, event.ts, event.user)
        value = Scored(
            id=event.id, user=event.user, probability=probability, label=probability > 0.5, version=job.VERSION
        )
        await scored.send(key=key, value=value)


if __name__ == "__main__":
    app.main()
