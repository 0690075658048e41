"""The topics of an app: whether they are there, and settings of theirs that will hurt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from streamserve.kafka.clients import MAX_MESSAGE_BYTES
from streamserve.kafka.inspection import TopicFacts
from streamserve.ops.doctor.finding import Finding, counted, fault, fine, unknown, warning
from streamserve.ops.doctor.needs import TopicNeed

__all__ = ["check_topic", "dead_letter_room", "is_missing", "missing"]

DENIED = frozenset({"TOPIC_AUTHORIZATION_FAILED"})
_DAY_MS = 24 * 3_600_000
"""An input that is kept for less loses records over a weekend, or a night, that the app is down."""


def check_topic(need: TopicNeed, facts: TopicFacts, *, brokers: int) -> Iterator[Finding]:
    """Say what is wrong with a topic, or that nothing is."""
    if not facts.partitions:
        yield from _absent(need, facts)
        return
    if not facts.settings:
        remedy = "grant DescribeConfigs on it"
        yield unknown("topic-settings", _where(need), "its settings may not be read", remedy)
    found = [finding for check in _CHECKS for finding in check(need, facts)]
    found += _replication(need, facts, brokers)
    if not found and facts.settings:
        yield fine("topic", _where(need), f"{need.role}, {counted(len(facts.partitions), 'partition')}")
    yield from found


def is_missing(facts: TopicFacts) -> bool:
    """Return whether the broker says that there is no such topic."""
    return not facts.partitions and facts.rights.refusal in {None, "UNKNOWN_TOPIC_OR_PART"}


def missing(pairs: Sequence[tuple[TopicNeed, TopicFacts]]) -> Iterator[Finding]:
    """Say which topics do not exist."""
    names = [need.name for need, facts in pairs if is_missing(facts)]
    if names:
        remedy = "'streamserve topics create MODULE:APP' creates what is missing"
        verb = "does" if len(names) == 1 else "do"
        yield fault("topics-missing", "topics", f"{', '.join(names)} {verb} not exist", remedy)


def dead_letter_room(pairs: Sequence[tuple[TopicNeed, TopicFacts]]) -> Iterator[Finding]:
    """Say whether every input's largest record fits into the dead-letter topic, with its headers.

    Regrouped records were an input's before.
    """
    sizes = [_number(facts, "max.message.bytes") for need, facts in pairs if need.role in {"input", "reference"}]
    largest = max((size for size in sizes if size is not None), default=0)
    for need, facts in pairs:
        room = _number(facts, "max.message.bytes")
        if need.role == "dead-letters" and room is not None and room <= largest:
            what = f"max.message.bytes is {room}, and an input takes {largest}: a large record at fault stops the app"
            yield fault("dead-letter-size", _where(need), what, _more_room(largest))


def _more_room(largest: int) -> str:
    if largest < MAX_MESSAGE_BYTES:
        return f"set it to {MAX_MESSAGE_BYTES}, as 'topics create' does"
    return f"lower the input's below {MAX_MESSAGE_BYTES}, the most that the engine writes"


def _absent(need: TopicNeed, facts: TopicFacts) -> Iterator[Finding]:
    if not is_missing(facts) and facts.rights.refusal not in DENIED:  # those are the rights' own check
        what = f"could not be looked at: {facts.rights.refusal}"
        yield unknown("topic", _where(need), what, "try again; look at the broker's log")


def _partitions(need: TopicNeed, facts: TopicFacts) -> Iterator[Finding]:
    if need.partitions is not None and need.partitions != len(facts.partitions):
        what = f"has {counted(len(facts.partitions), 'partition')}, not {need.partitions} ({need.purpose})"
        yield fault("partitions", _where(need), what, "read it regrouped (source.group_by), or make it anew")


def _leaders(need: TopicNeed, facts: TopicFacts) -> Iterator[Finding]:
    headless = [str(partition.number) for partition in facts.partitions if not partition.has_leader]
    if headless:
        what = f"nobody leads partition {', '.join(headless)}: it can be neither read nor written"
        yield fault("no-leader", _where(need), what, "start the brokers that hold it")


def _retention(need: TopicNeed, facts: TopicFacts) -> Iterator[Finding]:
    kept = _number(facts, "retention.ms")
    if kept is None or kept < 0 or "delete" not in _policies(facts):
        return
    if need.role == "input" and kept < _DAY_MS:
        what = f"retention.ms is {kept}: records older than {_told(kept)} are deleted, scored or not, by their own time"
        yield warning(
            "input-retention", _where(need), what, "keep a week (604800000); -1 where old events are replayed"
        )
    if need.role == "regrouped":
        what = f"retention.ms is {kept}: records with old timestamps are deleted before they are processed"
        yield fault("regrouped-retention", _where(need), what, "set it to -1: the engine deletes what it has read")


def _compaction(need: TopicNeed, facts: TopicFacts) -> Iterator[Finding]:
    policies = _policies(facts)
    if not policies:
        return
    if need.role == "changelog" and policies != {"compact"}:
        what = f"cleanup.policy is {','.join(sorted(policies))}: state is deleted with time, and gone after a restore"
        yield fault("changelog-policy", _where(need), what, "set cleanup.policy=compact")
    if need.role in {"input", "regrouped"} and "compact" in policies:
        what = "cleanup.policy has compact: of events with one key only the last may be left to be scored"
        yield warning("input-compacted", _where(need), what, "set cleanup.policy=delete, unless only last values count")
    if need.role == "dead-letters" and "compact" in policies:
        what = "cleanup.policy has compact: it refuses dead letters without a key, and drops all but the last of a key"
        yield fault("dead-letters-compacted", _where(need), what, "set cleanup.policy=delete")


def _size(need: TopicNeed, facts: TopicFacts) -> Iterator[Finding]:
    room = _number(facts, "max.message.bytes")
    if need.role in {"changelog", "regrouped"} and room is not None and room < MAX_MESSAGE_BYTES:
        what = f"max.message.bytes is {room}: what is larger fails, one dead letter each"
        yield warning("message-size", _where(need), what, f"set it to {MAX_MESSAGE_BYTES}, as 'topics create' does")


def _elections(need: TopicNeed, facts: TopicFacts) -> Iterator[Finding]:
    if facts.settings.get("unclean.leader.election.enable") == "true":
        what = "unclean.leader.election.enable is true: committed records and transactions' ends can be lost"
        yield fault("unclean-election", _where(need), what, "set it to false: it is incompatible with exactly-once")


def _timestamps(need: TopicNeed, facts: TopicFacts) -> Iterator[Finding]:
    ahead = _number(facts, "message.timestamp.after.max.ms")
    if need.role == "regrouped" and ahead is not None and ahead < _DAY_MS:
        what = f"message.timestamp.after.max.ms is {ahead}: records whose time is further ahead are refused"
        yield warning("timestamps", _where(need), what, f"set it to {2**63 - 1}, as 'topics create' does")


def _replication(need: TopicNeed, facts: TopicFacts, brokers: int) -> Iterator[Finding]:
    replicas = min(partition.replicas for partition in facts.partitions)
    in_sync = min(partition.in_sync for partition in facts.partitions)
    least = _number(facts, "min.insync.replicas")
    writes = "WRITE" in need.operations
    if writes and least is not None and replicas < least:
        what = f"has {counted(replicas, 'replica')}, and min.insync.replicas is {least}: nothing can be written"
        yield fault("in-sync-replicas", _where(need), what, f"set min.insync.replicas={max(1, replicas - 1)}")
    elif writes and least is not None and in_sync < least:
        what = f"{in_sync} of {replicas} replicas in sync, and min.insync.replicas is {least}: nothing can be written"
        yield fault("in-sync-replicas", _where(need), what, "start the brokers that are down")
    elif replicas == 1 and brokers > 1:
        what = "has one replica: it is away whenever its broker is, and lost with its disk"
        yield warning("replication", _where(need), what, "replicate it three times, with min.insync.replicas=2")
    elif writes and replicas > 1 and least == 1:
        what = "min.insync.replicas is 1: what was committed can be lost with one broker"
        yield warning("in-sync-replicas", _where(need), what, "set min.insync.replicas=2")


_CHECKS: tuple[Callable[[TopicNeed, TopicFacts], Iterator[Finding]], ...] = (
    _partitions,
    _leaders,
    _retention,
    _compaction,
    _size,
    _elections,
    _timestamps,
)


def _where(need: TopicNeed) -> str:
    return f"topic {need.name}"


def _policies(facts: TopicFacts) -> set[str]:
    return {policy.strip() for policy in facts.settings.get("cleanup.policy", "").split(",") if policy.strip()}


def _number(facts: TopicFacts, name: str) -> int | None:
    value = facts.settings.get(name)
    return int(value) if value is not None else None


def _told(milliseconds: int) -> str:
    """Say a time in its largest whole unit.

    >>> _told(90_000), _told(7_200_000)
    ('90 s', '2 h')
    """
    for unit, size in (("h", 3_600_000), ("min", 60_000)):
        if milliseconds >= size and milliseconds % size == 0:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds // 1000} s"
