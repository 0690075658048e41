"""The brokers: their release, what they allow transactions, and their clock.

Thresholds are Kafka's own where it has them; the others say where they come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from streamserve.durations import to_milliseconds
from streamserve.kafka.inspection import BrokerFacts, TopicFacts, TransactionTrial
from streamserve.kafka.marks import METADATA_BYTES
from streamserve.ops.doctor.finding import Finding, counted, fault, fine, unknown, warning
from streamserve.settings import Settings

__all__ = [
    "INTERNAL_TOPICS",
    "clock",
    "internal_topics",
    "markers",
    "metadata",
    "readable",
    "releases",
    "session",
    "transactions",
]

_HANGING = ("4.1", "4.2", "4.3")
"""Releases that drop markers of transactions whose partitions have no leader (KAFKA-20734)."""
_SKEW_MS = 2_000
"""Clocks that are kept by NTP differ by milliseconds; alarms and rates read wrongly from here on."""
_REFUSED_MS = 3_600_000
"""Kafka refuses timestamps further ahead (``message.timestamp.after.max.ms``)."""
_KEPT_MINUTES = 24 * 60
"""An app that is stopped over a night must know in the morning where it was."""
_INTERNAL = (
    ("__transaction_state", "transaction.state.log.replication.factor", "transaction.state.log.min.isr"),
    ("__consumer_offsets", "offsets.topic.replication.factor", "min.insync.replicas"),
)
INTERNAL_TOPICS = tuple(name for name, _, _ in _INTERNAL)


def readable(brokers: Sequence[BrokerFacts]) -> Iterator[Finding]:
    """Say which brokers' settings could not be read, so that nothing is said of them."""
    hidden = [broker.number for broker in brokers if not broker.settings]
    if hidden:
        what = "settings may not be read: limits of transactions and offsets are not looked at"
        yield unknown("broker-settings", f"broker {_listed(hidden)}", what, "grant DescribeConfigs on the cluster")


def releases(found: Mapping[int, str | None]) -> Iterator[Finding]:
    """Say which release each broker runs, by its number."""
    known = sorted({release for release in found.values() if release is not None})
    if not known:
        what = "the brokers do not tell (they use TLS, or are older than 3.0)"
        yield unknown(
            "release", "brokers", what, "make sure that they are 2.5 or newer; 4.1 to 4.3 need care, see below"
        )
    elif len(known) > 1:
        yield warning("release", "brokers", f"run Kafka {', '.join(known)}", "finish the upgrade: run one release")
    else:
        yield fine("release", "brokers", f"{len(found)} with Kafka {known[0]}")


def markers(
    brokers: Sequence[BrokerFacts], found: Mapping[int, str | None], unreplicated: Sequence[str]
) -> Iterator[Finding]:
    """Say whether a broker's shutdown may leave transactions hanging (KAFKA-20734).

    ``unreplicated`` are topics with partitions that have nobody else to lead them.
    """
    at_risk = [
        broker.number
        for broker in brokers
        if found.get(broker.number) in _HANGING and broker.settings.get("controlled.shutdown.enable") == "true"
    ]
    if at_risk and unreplicated:
        yield warning(
            "hanging-transactions",
            f"broker {_listed(at_risk)}",
            f"Kafka {found[at_risk[0]]} may leave transactions hanging when it is stopped, since {_some(unreplicated)}"
            " have no other replica (KAFKA-20734): readers would wait for ever",
            "replicate the topics, or set controlled.shutdown.enable=false on the broker",
        )


def transactions(brokers: Sequence[BrokerFacts], settings: Settings) -> Iterator[Finding]:
    """Say whether the brokers allow transactions to be open for as long as the app may need."""
    ours = to_milliseconds(settings.transaction_timeout)
    for broker in brokers:
        most = _number(broker.settings, "transaction.max.timeout.ms")
        if most is not None and most < ours:
            yield fault(
                "transaction-timeout",
                f"broker {broker.number}",
                f"transaction.max.timeout.ms is {most}, and the app's transaction_timeout {ours} ms",
                "raise it on the broker, or lower STREAMSERVE_TRANSACTION_TIMEOUT",
            )


def session(brokers: Sequence[BrokerFacts], settings: Settings) -> Iterator[Finding]:
    """Say whether the brokers accept the app's session time-out."""
    ours = to_milliseconds(settings.session_timeout)
    for broker in brokers:
        least = _number(broker.settings, "group.min.session.timeout.ms")
        most = _number(broker.settings, "group.max.session.timeout.ms")
        if (least is not None and ours < least) or (most is not None and ours > most):
            yield fault(
                "session-timeout",
                f"broker {broker.number}",
                f"takes session time-outs from {least} to {most} ms, and the app's session_timeout is {ours} ms",
                "choose a STREAMSERVE_SESSION_TIMEOUT between them",
            )


def metadata(brokers: Sequence[BrokerFacts]) -> Iterator[Finding]:
    """Say whether what is stored beside committed offsets has room, and for how long it is kept."""
    for broker in brokers:
        where = f"broker {broker.number}"
        room = _number(broker.settings, "offset.metadata.max.bytes")
        if room is not None and room < METADATA_BYTES:
            what = f"offset.metadata.max.bytes is {room}: watermarks and owners are stored there"
            yield fault("offset-metadata", where, what, f"set it to {METADATA_BYTES}, Kafka's default, or more")
        kept = _number(broker.settings, "offsets.retention.minutes")
        if kept is not None and kept < _KEPT_MINUTES:
            what = f"offsets.retention.minutes is {kept}: an app that is stopped for longer forgets where it was"
            yield warning("offset-retention", where, what, "set it to 10080 (a week), Kafka's default")


def internal_topics(brokers: Sequence[BrokerFacts], topics: Mapping[str, TopicFacts]) -> Iterator[Finding]:
    """Say whether the topics of transactions and offsets can be made and written with so many brokers.

    ``topics`` has those of them that exist: a broker's settings count only until then.
    """
    settings: Mapping[str, str] = brokers[0].settings if brokers else {}  # they are the same everywhere, or should be
    for name, setting, least in _INTERNAL:
        facts = topics.get(name)
        if facts is not None and facts.partitions:
            replicas = min(partition.replicas for partition in facts.partitions)
            yield from _held(name, replicas, _number(facts.settings, "min.insync.replicas"), len(brokers))
        else:
            yield from _to_be_made(name, setting, _number(settings, setting), _number(settings, least), len(brokers))


def _to_be_made(name: str, setting: str, replicas: int | None, isr: int | None, brokers: int) -> Iterator[Finding]:
    if replicas is not None and replicas > brokers:
        there = counted(brokers, "broker")
        what = f"cannot be made: {setting} is {replicas}, with {there}, so that no transaction can begin"
        yield fault("internal-topics", f"topic {name}", what, f"start more, or set it to {min(3, brokers)}")
    elif replicas is not None:
        yield from _held(name, replicas, isr, brokers)


def _held(name: str, replicas: int, isr: int | None, brokers: int) -> Iterator[Finding]:
    where = f"topic {name}"
    if isr is not None and isr > replicas:
        what = f"has {counted(replicas, 'replica')}, and {isr} must be in sync: no transaction can commit"
        yield fault("internal-topics", where, what, f"set its min.insync.replicas to {max(1, replicas - 1)}")
    elif replicas < min(3, brokers):
        what = f"has {counted(replicas, 'replica')}: what is in progress may be lost with one broker"
        yield warning("internal-topics", where, what, f"replicate it {min(3, brokers)} times")


def clock(trial: TransactionTrial) -> Iterator[Finding]:
    """Say how far the broker's clock is from this machine's."""
    ahead = trial.broker_ahead_ms
    if ahead is None:
        remedy = "compare them by hand (date -u), or grant Describe on __transaction_state to have it looked at"
        yield unknown("clock", "clocks", "the broker's clock could not be read", remedy)
    elif abs(ahead) <= _SKEW_MS:
        yield fine("clock", "clocks", "this machine's and the broker's agree")
    else:
        way = "ahead of" if ahead > 0 else "behind"
        what = f"the broker's clock is {abs(ahead) / 1000:,.0f} s {way} this machine's"
        remedy = "let NTP (chrony, systemd-timesyncd) keep both: time-outs, timers and max_future depend on them"
        yield (fault if abs(ahead) >= _REFUSED_MS else warning)("clock", "clocks", what, remedy)


def _number(settings: Mapping[str, str], name: str) -> int | None:
    value = settings.get(name)
    return int(value) if value is not None else None


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _some(names: Sequence[str], most: int = 3) -> str:
    """Name up to three.

    >>> _some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
