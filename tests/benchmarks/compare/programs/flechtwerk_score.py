"""The job with flechtwerk, exactly once; runs in an environment of its own, with Python 3.13."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import job
import uvloop  # pyright: ignore[reportMissingModuleSource] - in an environment of its own
from flechtwerk import (  # pyright: ignore[reportMissingModuleSource] - in an environment of its own
    Flechtwerk,
    IncomingMessage,
    Message,
    State,
    transformer,
)
from flechtwerk.attribute import (  # pyright: ignore[reportMissingModuleSource] - in an environment of its own
    FLOAT,
    INT,
    Attribute,
)

ID, USER, TS = Attribute("id", INT), Attribute("user", INT), Attribute("ts", INT)
AMOUNT = Attribute("amount", FLOAT)
model = job.Model()


@transformer(input_topics=[job.SOURCE])
async def score(message: IncomingMessage, state: State) -> AsyncIterator[Message]:
    """Score one event."""
    del state
    event = message.value
    if event is None:
        return
    user = event[USER]
    probability = model.one(event[AMOUNT], event[TS], user)
    value = {
        "id": event[ID],
        "user": user,
        "probability": probability,
        "label": probability > 0.5,
        "version": job.VERSION,
    }
    yield Message(key=message.key, topic=job.TARGET, value=json.dumps(value).encode())


if __name__ == "__main__":
    engine = Flechtwerk.of(
        application_id=job.APP,
        bootstrap_servers=job.BROKERS,
        client_id="0",
        stage=score,
    )
    uvloop.run(engine.run())
