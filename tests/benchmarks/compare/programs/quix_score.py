"""The job with Quix Streams, exactly once; runs in an environment of its own."""

from __future__ import annotations

from typing import Any

import job
from quixstreams import Application  # pyright: ignore[reportMissingModuleSource] - in an environment of its own

app = Application(
    broker_address=job.BROKERS,
    consumer_group=job.APP,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=job.COMMIT_SECONDS,
    consumer_extra_config={"fetch.queue.backoff.ms": 5},
    producer_extra_config={"retry.backoff.ms": 1, "compression.type": "lz4"},
    auto_create_topics=False,
)
model = job.Model()


def score(event: dict[str, Any]) -> dict[str, Any]:
    """Return the prediction for an event."""
    probability = model.one(event["amount"], event["ts"], event["user"])
    return {
        "id": event["id"],
        "user": event["user"],
        "probability": probability,
        "label": probability > 0.5,
        "version": job.VERSION,
    }


events = app.topic(job.SOURCE, value_deserializer="json", key_deserializer="bytes")
scored = app.topic(job.TARGET, value_serializer="json", key_serializer="bytes")
app.dataframe(events).apply(score).to_topic(scored)

if __name__ == "__main__":
    app.run()
