"""The delivery checker: read an app's topics back and count what breaks the delivery contract.

>>> from streamserve.testing.checks import check_app
>>> report = check_app("127.0.0.1:9092", group="flights", input_topics=["flights"],
...                    output_topics=["delays"], dead_letter_topic="flights-dead-letters")  # doctest: +SKIP
>>> assert report.anomalies == 0, report  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeAlias

from streamserve.testing.delivery import DeliveryCheck, check_delivery
from streamserve.testing.reading import (
    ClientConfig,
    ReadRecord,
    committed_offsets,
    end_offsets,
    iter_topic,
    read_topic,
)
from streamserve.testing.report import Expected, Injury, InputRecord, OutcomeRecord, Report

__all__ = [
    "DeliveryCheck",
    "Expected",
    "Injury",
    "InputRecord",
    "OutcomeRecord",
    "ReadRecord",
    "Report",
    "SourceHeaders",
    "check_app",
    "check_delivery",
    "committed_offsets",
    "end_offsets",
    "iter_topic",
    "read_topic",
]

Source: TypeAlias = tuple[str, int, int]
SourceOf: TypeAlias = Callable[[ReadRecord], Source | None]
UidOf: TypeAlias = Callable[[bytes], Hashable]


@dataclass(frozen=True, slots=True)
class SourceHeaders:
    """Finds the source of an outcome in three headers, by name; numbers are UTF-8 decimals.

    >>> headers = [("source-topic", b"flights"), ("source-partition", b"0"), ("source-offset", b"17")]
    >>> SourceHeaders()(ReadRecord("flights-dead-letters", 0, 3, None, b"", headers, 0))
    ('flights', 0, 17)
    """

    topic: str = "source-topic"
    partition: str = "source-partition"
    offset: str = "source-offset"

    def __call__(self, record: ReadRecord) -> Source | None:
        """Return the source of ``record``, ``None`` if a header is missing or is not a number.

        Of several headers of one name the first counts: a dead letter carries its record's own headers behind.
        """
        found = {name: _text(value) for name, value in reversed(record.headers)}
        try:
            return found[self.topic], int(found[self.partition]), int(found[self.offset])
        except (KeyError, ValueError):
            return None


def check_app(
    brokers: str,
    *,
    group: str,
    input_topics: Sequence[str],
    output_topics: Sequence[str] | Mapping[str, int],
    dead_letter_topic: str | None = None,
    uid_of_input: UidOf | None = None,
    uid_of_output: UidOf | None = None,
    source_of: SourceOf | None = None,
    filtering: bool = False,
    deadline_s: float = 60.0,
    examples: int = 10,
    config: ClientConfig | None = None,
) -> Report:
    """Read everything back as a ``read_committed`` reader and judge it with ``check_delivery``.

    Each input of ``input_topics`` below the offset that ``group`` has committed must have one record on every topic
    of ``output_topics`` (or as many as the mapping says), or one dead letter; with ``filtering`` it may have nothing.
    Outputs are matched to inputs by the uids found in their values, where both functions are given, else by
    ``source_of`` (default ``SourceHeaders()``); dead letters always by ``source_of``, and those of other input
    topics are left out. A uid function may raise: its record then has no uid.

    The app may be running; what is committed while the topics are read is not judged.

    Raises ``OutageError``, ``BrokerUnavailable`` and ``TopicError`` as the readers do.
    """
    outputs = output_topics if isinstance(output_topics, Mapping) else dict.fromkeys(output_topics, 1)
    expected = Expected(outputs=outputs, dead_letter_topic=dead_letter_topic, filtering=filtering)
    topics = [*outputs, *([] if dead_letter_topic is None else [dead_letter_topic])]
    matching = _Matching(frozenset(input_topics), dead_letter_topic, uid_of_output, source_of or SourceHeaders())

    # The order matters while the app runs: what `before` covers is visible below `ends`, and the causes of whatever
    # is visible there are among the inputs and covered by the offsets read last.
    before = committed_offsets(brokers, group, input_topics, deadline_s=deadline_s, config=config)
    ends = end_offsets(brokers, topics, config=config)
    read = partial(iter_topic, brokers, deadline_s=deadline_s, config=config)
    uid_of = uid_of_input if uid_of_output is not None else None
    inputs = chain.from_iterable(map(read, input_topics))
    check = DeliveryCheck((_input(record, uid_of) for record in inputs), expected, examples=examples)
    for topic in topics:
        check.read(matching.outcomes(read(topic, ends=ends)))
    after = committed_offsets(brokers, group, input_topics, deadline_s=deadline_s, config=config)
    return check.report(before, committed_after=after)


@dataclass(frozen=True, slots=True)
class _Matching:
    """How outcomes name their inputs."""

    input_topics: frozenset[str]
    dead_letter_topic: str | None
    uid_of: UidOf | None
    source_of: SourceOf

    def outcomes(self, records: Iterable[ReadRecord]) -> Iterator[OutcomeRecord]:
        """Yield the outcomes that belong to the input topics, or to nothing."""
        for record in records:
            at = record.topic, record.partition, record.offset
            if self.uid_of is not None and record.topic != self.dead_letter_topic:
                yield OutcomeRecord(*at, uid=_uid(record.value, self.uid_of))
                continue
            source = self.source_of(record)
            if record.topic != self.dead_letter_topic:
                yield OutcomeRecord(*at, source=source)
            elif source is None or source[0] in self.input_topics:
                yield OutcomeRecord(*at, source=source, step=dict(record.headers).get("step"))


def _input(record: ReadRecord, uid_of: UidOf | None) -> InputRecord:
    uid = None if uid_of is None else _uid(record.value, uid_of)
    return InputRecord(record.topic, record.partition, record.offset, uid)


def _uid(value: bytes | None, uid_of: UidOf) -> Hashable:
    """Return the uid found in ``value``, ``None`` where there is none: bad records are part of what is checked."""
    if value is None:
        return None
    try:
        return uid_of(value)
    except Exception:
        return None


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
