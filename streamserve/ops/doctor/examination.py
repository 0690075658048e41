"""All checks, in the order in which a newcomer would mend things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from streamserve.clock import Clock, SystemClock
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.planning.topics import check_channels
from streamserve.errors import StreamserveError, TopicError
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.kafka.inspection import BrokerFacts, Inspection, TopicFacts
from streamserve.kafka.marks import METADATA_BYTES
from streamserve.kafka.release import metadata_level, release_of
from streamserve.ops.doctor import cluster, files, machine, rights, topics
from streamserve.ops.doctor.finding import Finding, fault, fine
from streamserve.ops.doctor.needs import TopicNeed, topic_needs
from streamserve.settings import Settings

__all__ = ["examine"]


def examine(
    settings: Settings, plan: Plan | None = None, *, clock: Clock | None = None, clients: Clients = KAFKA_CLIENTS
) -> Iterator[Finding]:
    """Yield what is found of this machine, the brokers and, with a ``plan``, all that its app depends on.

    Nothing is changed, save that the transactional id ``<app>.doctor`` is used once. What cannot be looked at, for want
    of rights or of a broker, is said to be unknown or left out.
    """
    yield from machine.python()
    yield from machine.libraries()
    yield from machine.java()
    if plan is not None:
        yield from files.state_directory(plan, settings)
        for model in plan.models.values():
            yield from files.models(model, settings)
        for service in plan.features.values():
            yield from files.feature_store(service, settings)
    yield from _kafka(settings, plan, clock or SystemClock(), clients)


def _kafka(settings: Settings, plan: Plan | None, clock: Clock, clients: Clients) -> Iterator[Finding]:
    try:
        inspection = Inspection(settings, clients)
        brokers = inspection.brokers()
    except StreamserveError as error:
        remedy = "start Kafka, or name it: --brokers, STREAMSERVE_BOOTSTRAP_SERVERS"
        yield fault("broker", f"Kafka at {settings.bootstrap_servers}", str(error), remedy)
        return
    yield fine("broker", f"Kafka at {settings.bootstrap_servers}", "answers")
    releases = {broker.number: release_of(metadata_level(broker.host, broker.port)) for broker in brokers}
    yield from cluster.readable(brokers)
    yield from cluster.releases(releases)
    yield from cluster.transactions(brokers, settings)
    yield from cluster.session(brokers, settings)
    yield from cluster.metadata(brokers)
    yield from cluster.internal_topics(brokers, inspection.topics(cluster.INTERNAL_TOPICS))
    trial = inspection.try_transactional_id(f"{plan.app if plan else 'streamserve'}.doctor", clock)
    yield from cluster.clock(trial)
    if plan is not None:
        yield from rights.transactional_rights(f"{plan.app}.", trial)
        yield from rights.group_rights(plan.app, inspection.group(plan.app))
        yield from _topics(inspection, brokers, releases, plan, settings)


def _topics(
    inspection: Inspection,
    brokers: Sequence[BrokerFacts],
    releases: Mapping[int, str | None],
    plan: Plan,
    settings: Settings,
) -> Iterator[Finding]:
    names = [need.name for need in topic_needs(plan, {})]
    facts = inspection.topics(names)
    counts = {name: len(topic.partitions) for name, topic in facts.items() if topic.partitions}
    pairs = [(need, facts[need.name]) for need in topic_needs(plan, counts)]
    yield from topics.missing(pairs)
    for need, topic in pairs:
        yield from topics.check_topic(need, topic, brokers=len(brokers))
        yield from rights.topic_rights(need, topic)
    yield from topics.dead_letter_room(pairs)
    yield from _channels(plan, counts, brokers, settings)
    yield from cluster.markers(brokers, releases, _unreplicated(pairs))


def _channels(
    plan: Plan, counts: Mapping[str, int], brokers: Sequence[BrokerFacts], settings: Settings
) -> Iterator[Finding]:
    told = [broker.settings.get("offset.metadata.max.bytes") for broker in brokers]
    room = min((int(value) for value in told if value is not None), default=METADATA_BYTES)
    try:
        check_channels(plan, counts, settings.instance, lambda: room)
    except TopicError as error:
        yield fault(
            "channels", "regrouped topics", str(error), "raise offset.metadata.max.bytes, or use fewer partitions"
        )


def _unreplicated(pairs: Sequence[tuple[TopicNeed, TopicFacts]]) -> list[str]:
    """Return the topics that the app writes of which some partition has one replica."""
    return [
        need.name
        for need, facts in pairs
        if "WRITE" in need.operations and any(partition.replicas == 1 for partition in facts.partitions)
    ]
