"""Who made which output of ``apps.claimed``, read back, and the verdict on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from streamserve.testing.reading import Isolation, ReadRecord, read_topic
from tests.integration.apps.claimed import Claimed
from tests.integration.driving import Driver

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """An output and where it stands."""

    partition: int
    offset: int
    claimed: Claimed


def answers(driver: Driver, isolation: Isolation = "read_committed") -> list[Answer]:
    """Return all outputs, those of one partition in order."""
    return [_answer(record) for record in read_topic(driver.brokers, driver.output, isolation=isolation)]


def _answer(record: ReadRecord) -> Answer:
    return Answer(record.partition, record.offset, msgspec.json.decode(record.value or b"", type=Claimed))


def zombies(found: Iterable[Answer]) -> list[str]:
    """Name the outputs of owners behind those of who took over from them, in the same partition.

    >>> def at(offset: int, owner: str) -> Answer:
    ...     return Answer(0, offset, Claimed(offset, "user-1", 0, offset, owner))
    >>> zombies([at(0, "w0/11/1"), at(1, "w1/12/1"), at(2, "w1/12/1")])
    []
    >>> zombies([at(0, "w0/11/1"), at(1, "w1/12/1"), at(2, "w0/11/1")])
    ['out[0]@2 is by w0/11/1, whose place w1/12/1 had taken']
    """
    current: dict[int, str] = {}
    past: dict[int, set[str]] = {}
    wrong: list[str] = []
    for answer in found:
        owner, before = answer.claimed.owner, current.get(answer.partition)
        if owner == before:
            continue
        if owner in past.setdefault(answer.partition, set()):
            wrong.append(f"out[{answer.partition}]@{answer.offset} is by {owner}, whose place {before} had taken")
        if before is not None:
            past[answer.partition].add(before)
        current[answer.partition] = owner
    return wrong


def verdict(driver: Driver) -> list[str]:
    """Return what is wrong with the outputs, now that all inputs are to be committed."""
    driver.wait_for_inputs()
    report = driver.check()
    wrong = [f"{count} {injury}" for injury, count in report.counts().items() if count]
    wrong += [text for texts in report.examples.values() for text in texts[:_SHOWN]]
    if report.committed != report.inputs:
        wrong.append(f"{report.committed} of {report.inputs} inputs are committed")
    return [*wrong, *zombies(answers(driver))[:_SHOWN]]
