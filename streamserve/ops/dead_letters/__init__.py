"""What people do with dead letters: look at them, mend them, and replay them once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from streamserve.clock import Clock, SystemClock
from streamserve.dataflow.planning.plan import Plan
from streamserve.errors import BrokerUnavailable
from streamserve.kafka.browsing import Start, browsing
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.kafka.replays import Marks, Replay, Replayer, in_transactions
from streamserve.ops.dead_letters.edits import Edit, edit_by_hand, setting
from streamserve.ops.dead_letters.letters import DeadLetter, Wanted, shown_payload
from streamserve.ops.dead_letters.replay import Judge, LeftOut
from streamserve.records import Emission
from streamserve.settings import Settings

__all__ = [
    "DeadLetter",
    "Edit",
    "Outcome",
    "Wanted",
    "dead_letters",
    "edit_by_hand",
    "newest",
    "replay",
    "setting",
    "shown_payload",
]


@dataclass(slots=True)
class Outcome:
    """What was replayed, or would be, and what was left out."""

    replays: list[Replay] = field(default_factory=list[Replay])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])


def dead_letters(plan: Plan, settings: Settings, wanted: Wanted) -> Iterator[DeadLetter]:
    """Yield the dead letters of an app that are ``wanted``; partitions come interleaved, each in order.

    Raises:
        TopicError: the topic of dead letters does not exist.
        BrokerUnavailable: no broker answers, or a transaction hangs in the topic.
    """
    topic = plan.dead_letter_topic
    with browsing(plan.app, topic, settings) as browser:
        for message in browser.read(_start(wanted)):
            letter = DeadLetter.of(message)
            if wanted.takes(letter):
                yield letter
        if browser.is_held_back:
            raise BrokerUnavailable(
                f"a transaction is open in {topic!r} and holds back what follows: 'streamserve transactions list'"
                " tells whose, or wait until its time-out"
            )


def _start(wanted: Wanted) -> Start:
    """Return from where on the topic is read: no earlier than need be."""
    if wanted.places:
        return min(offset for _, offset in wanted.places)
    return wanted.since or "beginning"


def newest(letters: Iterable[DeadLetter], limit: int) -> tuple[Sequence[DeadLetter], int]:
    """Return the ``limit`` newest of ``letters``, oldest first, and how many there are; no more is held at once.

    Order and age are those of dead-lettering, partition by partition.
    """
    kept: dict[int, deque[DeadLetter]] = {}
    count = 0
    for letter in letters:
        count += 1
        kept.setdefault(letter.at.partition, deque(maxlen=limit)).append(letter)
    merged = sorted(
        (letter for part in kept.values() for letter in part), key=lambda letter: (letter.time_ms, letter.at)
    )
    return merged[-limit:], count


def replay(
    plan: Plan,
    settings: Settings,
    letters: Iterable[DeadLetter],
    *,
    edit: Edit | None = None,
    again: bool = False,
    dry_run: bool = False,
    per_transaction: int = 500,
    clients: Clients = KAFKA_CLIENTS,
    clock: Clock | None = None,
) -> Outcome:
    """Write the records of ``letters`` back to where they came from, each at most once, in a few transactions.

    Those of one transaction and the marks of their replay are visible together or not at all; when this raises, the
    transactions before are, and another call leaves them out. ``dry_run`` writes nothing.

    Raises:
        TransactionAborted: a record was refused, or another replay has begun.
        OutcomeUnknown: a commit's answer did not come: call it again.
        BrokerUnavailable: no broker answers.
    """
    replayer = None if dry_run else Replayer(plan.app, settings, clients)
    book = Marks(plan.app, settings, clients) if replayer is None else replayer.marks
    judge = Judge(plan, book, book.read(), (clock or SystemClock()).now_ms(), edit, again)
    outcome = Outcome()
    for replays in in_transactions(_judged(judge, letters, outcome), records=per_transaction):
        if replayer is not None:
            replayer.write(replays)
        outcome.replays += [each._replace(record=_without_payload(each)) for each in replays]
    return outcome


def _judged(judge: Judge, letters: Iterable[DeadLetter], outcome: Outcome) -> Iterator[Replay]:
    for letter in letters:
        judged = judge.judge(letter)
        if isinstance(judged, LeftOut):
            outcome.left_out.append(replace(judged, letter=replace(letter, value=None)))
        else:
            yield judged


def _without_payload(replay: Replay) -> Emission:
    """What is kept of thousands of replays is small."""
    return replace(replay.record, value=None)
