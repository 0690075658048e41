"""Setting an app's committed offsets: what would become of each partition, and doing it.

Offsets are set, state is not: records that are read again are counted again in tables, labels and detectors, and their
outputs come again. A window's own state knows how far time has come: those that have closed stay closed, and open ones
count again only what is not older than that, less their grace. ``empty`` begins with empty state instead.

The marks beside the offsets are written anew. What they say of event time goes, in every partition group that is
touched and in the topics between the parts of the app: records read again would count as late otherwise. Where state
stands in its changelog is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from streamserve.dataflow.planning.plan import Part, Plan
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.errors import ConfigurationError, TopicError
from streamserve.kafka.admin import Admin, TopicSpec
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.kafka.marks import OffsetMark, Progress, TopicPartitionKey
from streamserve.kafka.offsets import GroupOffsets, NewOffset, PartitionOffsets, Target, in_use
from streamserve.settings import Settings

__all__ = ["Move", "changelogs_of", "inputs_of", "look", "plan_reset", "reset"]


@dataclass(frozen=True, slots=True)
class Move:
    """What a reset does to one partition: from where the group stands to ``to``; ``None`` before the first commit.

    Equal ones lose only what their mark says of event time.
    """

    at: PartitionOffsets
    to: int | None
    metadata: str

    @property
    def again(self) -> int:
        """Return how many offsets are read again; below zero, how many are passed over."""
        return 0 if self.to is None else self.at.stands_at - self.to


def inputs_of(plan: Plan) -> list[str]:
    """Return all topics that the app's group reads, those between its own parts included."""
    return list(dict.fromkeys(topic for part in plan.parts for topic in part.topics))


def between(plan: Plan) -> set[str]:
    """Return the topics that the app writes for itself alone."""
    return {node.topic for node in plan.regroupings.values()} | {tee.topic for tee in plan.tees}


def look(plan: Plan, settings: Settings, clients: Clients = KAFKA_CLIENTS) -> list[PartitionOffsets]:
    """Return where the app stands in each partition that it reads.

    Raises:
        TopicError: a topic does not exist.
        BrokerUnavailable: no broker answers, or an open transaction holds the offsets.
    """
    inputs = inputs_of(plan)
    found = GroupOffsets(plan.app, settings, clients).look(inputs)
    missing = sorted(set(inputs) - {one.topic for one in found})
    if missing:
        raise TopicError(
            f"no topic {', '.join(missing)}: 'streamserve topics create MODULE:APP' creates what is missing"
        )
    return found


def plan_reset(
    plan: Plan,
    settings: Settings,
    target: Target,
    *,
    topics: Collection[str] = (),
    partitions: Collection[int] = (),
    empty: bool = False,
    clients: Clients = KAFKA_CLIENTS,
) -> list[Move]:
    """Return what a reset to ``target`` would do; nothing is changed.

    Without ``topics`` those are meant that others write, without ``partitions`` all. With ``empty`` state, the topics
    between the parts go to their ends, since what is in them is written again.

    Raises:
        ConfigurationError: a topic or partition is none of the app's, ``target`` is not in a log, or rows are done
            beyond a committed offset, of which only the mark tells.
    """
    group = GroupOffsets(plan.app, settings, clients)
    stands = {one.place: one for one in look(plan, settings, clients)}
    chosen = _chosen(plan, stands, topics, partitions)
    goals: dict[TopicPartitionKey, int] = group.resolve(target, [stands[place] for place in chosen])
    if empty:
        goals |= {place: one.end for place, one in stands.items() if place[0] in between(plan)}
    return list(_moves(plan, stands, goals, empty=empty))


def _chosen(
    plan: Plan,
    stands: Mapping[TopicPartitionKey, PartitionOffsets],
    topics: Collection[str],
    partitions: Collection[int],
) -> list[TopicPartitionKey]:
    known = {topic for topic, _ in stands}
    unknown = sorted(set(topics) - known)
    if unknown:
        raise ConfigurationError(f"the app reads no topic {', '.join(unknown)}; it reads {', '.join(sorted(known))}")
    wanted = set(topics) or known - between(plan)
    chosen = [place for place in stands if place[0] in wanted and (not partitions or place[1] in partitions)]
    missing = sorted(set(partitions) - {number for _, number in chosen})
    if missing or not chosen:
        raise ConfigurationError(f"no partition {', '.join(map(str, missing))} in {', '.join(sorted(wanted))}")
    return chosen


def _moves(
    plan: Plan,
    stands: Mapping[TopicPartitionKey, PartitionOffsets],
    goals: Mapping[TopicPartitionKey, int],
    *,
    empty: bool,
) -> Iterator[Move]:
    """Yield a move for each partition that is reset or loses its sense of time."""
    for part in plan.parts:
        for number in sorted({partition for topic, partition in stands if topic in part.topics}):
            group = _group(part, number, stands)
            if not (empty or any(one.place in goals or one.topic in between(plan) for one in group)):
                continue
            state_from = None if empty else _state_from(group)
            for one in group:
                goal = goals.get(one.place)
                if goal is not None or one.committed is not None:
                    yield _move(one, goal, state_from, empty=empty)


def _group(part: Part, number: int, stands: Mapping[TopicPartitionKey, PartitionOffsets]) -> list[PartitionOffsets]:
    return [stands[topic, number] for topic in part.topics if (topic, number) in stands]


def _state_from(group: Sequence[PartitionOffsets]) -> int | None:
    known = [one.mark.state_from for one in group if one.mark is not None and one.mark.state_from is not None]
    return max(known, default=None)


def _move(one: PartitionOffsets, goal: int | None, state_from: int | None, *, empty: bool) -> Move:
    """Return the move of one partition to ``goal``; without one it stays and forgets event time.

    Raises:
        ConfigurationError: it would stay, but rows are done beyond its offset, or its mark cannot be read.
    """
    stays = goal is None and one.committed is not None
    if stays and one.trouble is not None:
        raise ConfigurationError(f"{one.topic}[{one.partition}]: {one.trouble}")
    if stays and one.mark is not None and one.mark.progress(one.committed or 0).skips:
        raise ConfigurationError(
            f"{one.topic}[{one.partition}] has rows that are done beyond its offset {one.committed}, and would do them"
            " again: let the app run until 'streamserve lag' shows 0, or reset this topic too (--topic)"
        )
    instance = None if one.mark is None else one.mark.instance
    kept = instance is not None and state_from is not None and not empty
    mark = OffsetMark.of(instance or "", None, state_from, Progress(0)) if kept else None
    return Move(one, one.committed if goal is None else goal, "" if mark is None else mark.encode())


def reset(
    plan: Plan,
    settings: Settings,
    moves: Sequence[Move],
    *,
    empty: bool = False,
    clients: Clients = KAFKA_CLIENTS,
) -> None:
    """Do what ``plan_reset`` returned; with ``empty``, changelogs are deleted and made anew before.

    A run that ends in between is done again with the same command: offsets come last, and workers that find their
    changelog gone say so and stop.

    Raises:
        ConfigurationError: the group has members.
        BrokerUnavailable: no broker answers.
    """
    group = GroupOffsets(plan.app, settings, clients)
    members = group.members()
    if members:
        raise in_use(plan.app, members)
    if empty:
        _empty_changelogs(plan, Admin(settings, clients))
    group.set({move.at.place: NewOffset(move.to, move.metadata) for move in moves if move.to is not None})


def changelogs_of(plan: Plan) -> list[str]:
    """Return the topics in which the app's state is."""
    named = [plan.changelog_of(name) for part in plan.parts for name in part.states]
    return [*([plan.state_topic] if plan.is_stateful else []), *named]


def _empty_changelogs(plan: Plan, admin: Admin) -> None:
    """Delete the changelogs and make them anew, each with as many partitions as it had."""
    found = admin.partitions()
    names = [name for name in changelogs_of(plan) if name in found]
    specs = [spec for spec in topic_specs(plan, found) if spec.name in names]
    admin.delete(names)
    admin.create([_with_partitions(spec, found[spec.name]) for spec in specs], partitions=1)


def _with_partitions(spec: TopicSpec, partitions: int) -> TopicSpec:
    return replace(spec, partitions=partitions)
