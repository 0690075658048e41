"""The demo's topics: made fresh for each run, so that every count starts at zero."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.errors import BrokerUnavailable, TopicError
from streamserve.kafka.admin import Admin, TopicSpec
from streamserve.settings import Settings

__all__ = ["PARTITIONS", "demo_topics", "make_topics"]

PARTITIONS = 4
_PATIENCE_S = 30.0
_RETRY_S = 0.2

_NOT_YET = frozenset({KafkaError.NON_EMPTY_GROUP, KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS})


def demo_topics(plan: Plan) -> list[TopicSpec]:
    """Return the topics of the app.

    Events are of 2013: nothing is deleted for its age.
    """
    specs = topic_specs(plan, {}, partitions=PARTITIONS)
    return [replace(spec, config={**spec.config, "retention.ms": "-1"}) for spec in specs]


def make_topics(brokers: str, plan: Plan, *, recreate: bool = False) -> None:
    """Create all topics of the demo; with ``recreate``, delete them and the app's committed offsets first.

    Raises:
        TopicError: one exists and ``recreate`` is not set, or the broker refuses one.
        BrokerUnavailable: no broker answers.
    """
    admin = Admin(Settings(bootstrap_servers=brokers))
    specs = demo_topics(plan)
    there = sorted({spec.name for spec in specs} & admin.partitions().keys())
    if there and not recreate:
        raise TopicError(
            f"{brokers} has {', '.join(there)} already, and the demo counts from zero: --recreate deletes and makes "
            "them anew; without --brokers the demo runs a broker of its own"
        )
    client: Any = AdminClient({"bootstrap.servers": brokers})  # its futures are untyped; kept until all is done
    if there:
        _forget(client, brokers, plan.app, there)
    _until(lambda: not there or not set(there) & admin.partitions().keys(), "delete the demo's topics")
    admin.create(specs, partitions=PARTITIONS)
    wanted = {spec.name for spec in specs}
    _until(lambda: wanted <= admin.partitions().keys(), "create the demo's topics")


def _forget(client: Any, brokers: str, group: str, topics: list[str]) -> None:
    """Delete topics and group; a worker with a name of its own stays in the group until its session has ended."""
    give_up = time.monotonic() + _PATIENCE_S
    while not _deleted(client.delete_consumer_groups([group]), KafkaError.GROUP_ID_NOT_FOUND):
        if time.monotonic() > give_up:
            raise TopicError(f"group {group!r} on {brokers} still has members: stop the workers of the earlier demo")
        time.sleep(_RETRY_S)
    _deleted(client.delete_topics(topics), KafkaError.UNKNOWN_TOPIC_OR_PART)


def _deleted(futures: Mapping[str, Future[None]], harmless: int) -> bool:
    """Return whether all were deleted, ``False`` where a group still has members, or its coordinator is starting."""
    for name, future in futures.items():
        try:
            future.result(_PATIENCE_S)
        except KafkaException as error:
            cause = cast("KafkaError", error.args[0])
            if cause.code() in _NOT_YET:
                return False
            if cause.code() != harmless:
                raise TopicError(f"cannot delete {name!r}: {cause.str()} ({cause.name()})") from error
    return True


def _until(reached: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while not reached():
        if time.monotonic() > give_up:
            raise BrokerUnavailable(f"the broker did not {what} within {_PATIENCE_S:g} s: see its log")
        time.sleep(_RETRY_S)
