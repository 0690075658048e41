"""Runs an app's own commands: functions outside the dataflow, which may write to its topics."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.driving.effects import Effect, InEventLoop, Send
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.runtime import codec_of
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.errors import ConfigurationError, EncodeError
from streamserve.records import Emission


def run_command(plan: Plan, function: Callable[..., Any], *args: Any, **options: Any) -> list[Emission]:
    """Call ``function``, to its end if it is a coroutine; return what it sent, in order.

    Raises:
        ConfigurationError: it asks what only a worker answers.
        EncodeError: what it sent does not fit its topic, or the topic belongs to another app.
    """
    sent: list[Send] = []

    async def submit(effect: Effect) -> None:
        if not isinstance(effect, Send):
            raise ConfigurationError("features and models answer to events in a worker, not to commands")
        sent.append(effect)

    InEventLoop.submit = submit
    try:
        result = function(*args, **options)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    finally:
        InEventLoop.submit = None
    return _emissions(plan, sent)


def _emissions(plan: Plan, sent: Sequence[Send]) -> list[Emission]:
    writers: dict[str, TopicWriter] = {}
    for name in dict.fromkeys(send.topic for send in sent):
        if name not in plan.topics:
            raise EncodeError(f"topic {name!r} belongs to another app: declare it on this one")
        writers[name] = TopicWriter(name, codec_of(plan.topics[name]), KeyCodec(plan.topics[name].key))
    return [writers[send.topic].emission(send) for send in sent]
