"""One incarnation of the engine: what happens between two batches.

The source step calls ``turn`` whenever everything it gave out has been through all branches. There, and only there, the
transaction is opened and closed, partitions are taken over, and timers come due. Any failure ends the incarnation; the
worker starts another from what is committed, on the same path as after ``kill -9``.
"""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from streamserve.clock import Clock
from streamserve.dataflow.announcing import Announcing
from streamserve.dataflow.batch import DueTimers, RecordBatch, StepOutput, Tick, coordinates_of
from streamserve.dataflow.global_tables import GlobalTables
from streamserve.dataflow.groups import Group, GroupKey, GroupState, complete_groups, newest_by_partition
from streamserve.dataflow.handover import Handover
from streamserve.dataflow.held import HeldTables
from streamserve.dataflow.intake import HELD_ROWS, Intake
from streamserve.dataflow.merge import Waits
from streamserve.dataflow.passing import Passing
from streamserve.dataflow.plan import Plan
from streamserve.dataflow.schedule import Schedule
from streamserve.dataflow.stores import let_go, settle
from streamserve.dataflow.waiting import Waiting
from streamserve.durations import to_milliseconds
from streamserve.errors import AgentError, ConfigurationError, EngineRestart, StreamserveError, TransactionAborted
from streamserve.kafka.calls import Calls
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.kafka.quarantine import Quarantine
from streamserve.kafka.transaction import Frozen, Transaction
from streamserve.observer import Observer
from streamserve.records import Origin, RawRecord
from streamserve.settings import Settings
from streamserve.state.base import ChangelogState

Item: TypeAlias = RecordBatch | DueTimers | Tick

_IDLE_SECONDS = 0.05
_HOUSEKEEPING_SECONDS = 1.0
_GARBAGE_SECONDS = 10.0
_DELETE_SECONDS = 30.0
_RECOMMIT_SECONDS = 24 * 3600.0
"""Committed offsets of idle partitions expire after ``offsets.retention.minutes`` (7 days): renewed well before."""
_LATENCY_SAMPLES = 32


@dataclass(slots=True)
class Stations:
    """What the engine needs of the compiled dataflow.

    ``new_states`` makes the states of a group, from their snapshots where there are any; ``new_tables`` its tables and
    windows, empty; ``flush_pushes`` runs before each commit.
    """

    intakes: Mapping[str, Intake]
    new_states: Callable[[Group, Mapping[str, bytes]], dict[str, GroupState]]
    new_tables: Callable[[Group], dict[str, ChangelogState]]
    flush_pushes: Callable[[], None]
    schedule: Schedule
    global_tables: GlobalTables
    held: HeldTables


@dataclass(slots=True)
class _Openings:
    """What the open transaction covers so far."""

    records: int = 0
    samples: list[int] = field(default_factory=list[int])


class Engine:
    """Owns the consumer, the transaction and the partition groups of one incarnation.

    ``stop`` may be called from a signal handler; everything else happens on one thread.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        calls: Calls,
        quarantine: Quarantine,
        observer: Observer,
        clock: Clock,
        partitions: Mapping[str, int],
    ) -> None:
        self.clock = clock
        self.failure: BaseException | None = None
        self._joined = False
        self.current: RecordBatch | None = None
        self.healthy = False
        """Whether this incarnation committed anything, or had nothing to do for a while."""
        self._quarantine = quarantine
        self._plan = plan
        self._settings = settings
        self._observer = observer
        self._interval = to_milliseconds(settings.commit_interval) / 1000
        self._stations: Stations | None = None
        self._pending: deque[RecordBatch] = deque()
        self._covered = _Openings()
        self._housekept = self._collected = self._deleted = self.clock.monotonic()
        self._paused: set[TopicPartitionKey] = set()
        self.groups: dict[GroupKey, Group] = {}
        self.stopping = False
        self.transaction = Transaction(plan.app, settings, calls, quarantine)
        topics = [topic for part in plan.parts for topic in part.topics]
        self.consumer = GroupConsumer(
            plan.app,
            topics,
            settings,
            calls,
            self,
            reports_ends=any(part.holds(plan.topics) for part in plan.parts) or plan.feeds_itself,
        )
        self._passing = Passing(plan)
        self._announcing = Announcing(plan, partitions, clock)
        self._waiting = Waiting(plan, settings, self.consumer, clock)
        self._handover = Handover(plan, settings, calls, self.consumer, self._new_states, self._new_tables, observer)

    def attach(self, stations: Stations) -> None:
        """Connect the compiled dataflow; before the first turn."""
        self._stations = stations

    def stop(self) -> None:
        """Drain and commit at the next turn, then end."""
        self.stopping = True

    @property
    def stations(self) -> Stations:
        """Return the attached dataflow's stations."""
        if self._stations is None:
            raise AssertionError("the engine turns only with a dataflow attached")
        return self._stations

    def _new_states(self, group: Group, snapshots: Mapping[str, bytes]) -> dict[str, GroupState]:
        return self.stations.new_states(group, snapshots)

    def _new_tables(self, group: Group) -> dict[str, ChangelogState]:
        return self.stations.new_tables(group)

    @property
    def failed(self) -> bool:
        """Return whether this incarnation is over."""
        return self.failure is not None

    def fail(self, error: BaseException) -> None:
        """End this incarnation; the first reason counts."""
        self.failure = self.failure or error
        if self._quarantine.careful:
            self._quarantine.suspect(self._positions())

    def _positions(self) -> dict[TopicPartitionKey, int]:
        """Return the next offsets of everything that is owned."""
        return {key: offset for group in self.groups.values() for key, offset in group.positions.items()}

    def blame(self, panic: Exception) -> None:
        """Note that user operators raised: learn which record it was, then set it aside.

        The next incarnation takes one record at a time, so that its next failure names its record.
        """
        agents = [agent for part in self._plan.parts for agent in part.agents if agent.kind == "dataflow"]
        self.fail(TransactionAborted(f"an operator raised: {_cause(panic)}"))
        if not self._quarantine.one_by_one:
            self._quarantine.one_by_one = True
            self._quarantine.suspect(self._positions())
        elif self.current is not None and len(self.current) == 1:
            at = coordinates_of(self.current.records[0])
            for agent in agents:
                if at.topic in agent.sources:
                    error = AgentError(f"dataflow {agent.name!r} raised {_cause(panic)}")
                    self._quarantine.refused[Origin(agent.name, at)] = error
            self._quarantine.one_by_one = False

    def guarded_turn(self) -> list[Item] | None:
        """Take a turn unless a step failed in the last."""
        if self.failure is not None:
            raise self.failure
        return self.turn()

    # --- the turn -----------------------------------------------------------------------------------------------

    def turn(self) -> list[Item] | None:
        """Return what goes through the dataflow next, nothing for now, or ``None`` at the end."""
        self._observer.progress()
        if due := self._pass_time():
            return list(due)
        self.stations.held.serve(self.groups)
        self._read_global_tables()
        if self.stopping:
            self._commit()
            self._settle_stores()
            return None
        if self._is_full():
            self._commit()
            self._keep_house()
        if self._pending:
            return [self._admit(self._pending.popleft())]
        if self.stations.global_tables.loaded:
            self._take_over()
        ticks = self._due_ticks()
        return list(ticks) if ticks else self._poll()

    def _read_global_tables(self) -> None:
        """Read global tables on; nothing is taken over before all are loaded."""
        tables = self.stations.global_tables
        were_loaded = tables.loaded
        tables.step()
        if tables.loaded and not were_loaded and self._joined and not self._handover.busy:
            self._observer.ready(True, "")  # a stand-by, as in on_assigned

    def _is_full(self) -> bool:
        return self.transaction.is_open and (
            self.transaction.open_seconds >= self._interval
            or self._covered.records >= self._settings.max_transaction_records
        )

    def _poll(self) -> list[Item]:
        """Return the next batch; when there is none, commit what is open and wait a moment for one.

        Both in one turn: Bytewax would pause for a millisecond after a turn that brings nothing.
        """
        batches = self._arrived()
        if not batches and self.transaction.is_open:
            self._commit()
            self._keep_house()
            batches = self._arrived()
        if not batches:
            self._keep_house()
            return []
        self._pending.extend(batches)
        return [self._admit(self._pending.popleft())]

    def _arrived(self) -> list[RecordBatch]:
        """Return what can be processed now; an idle worker waits for the first record."""
        busy = self.transaction.is_open or self._handover.busy or not self.stations.global_tables.loaded
        limit = 1 if self._quarantine.one_by_one else self._settings.max_poll_records
        records = self.consumer.poll(limit, 0.0 if busy else self._idle_seconds())
        return self._sort(records) if records else self._release()

    def _idle_seconds(self) -> float:
        return min(_IDLE_SECONDS, self.stations.schedule.seconds_to_next())

    def _sort(self, records: list[RawRecord]) -> list[RecordBatch]:
        """Hand records to their parts' intakes; return the batches that can be processed now."""
        by_topic: dict[str, list[RawRecord]] = {}
        if len(self.stations.intakes) == 1 and len(self._plan.parts[0].topics) == 1:
            by_topic[self._plan.parts[0].topics[0]] = records
        else:
            for record in records:
                by_topic.setdefault(record.topic() or "", []).append(record)
        batches: list[RecordBatch] = []
        for topic, arrived in by_topic.items():
            self._observer.polled(topic, len(arrived))
            intake = self._intake_of(topic)
            if intake.holds or self._plan.feeds_itself:
                self._waiting.heard(topic, arrived)
            batches.extend(intake.take(topic, arrived))
        return [*batches, *self._release()]

    def _intake_of(self, topic: str) -> Intake:
        return next(intake for intake in self.stations.intakes.values() if topic in intake.part.topics)

    def _release(self) -> list[RecordBatch]:
        """Return what parts that hold records back can let go, and keep their read-ahead within bounds."""
        batches: list[RecordBatch] = []
        for intake in self.stations.intakes.values():
            if intake.holds:
                waits = self._waiting.of(intake.part)
                released = intake.release(waits, singly=self._quarantine.one_by_one)
                moving = {partition for batch in released for partition in batch.watermarks or ()}
                batches += [*released, *self._rest(intake, waits, moving)]
                self._bound_read_ahead(intake)
        return batches

    def _rest(self, intake: Intake, waits: Mapping[int, Waits], moving: Collection[int]) -> Iterator[RecordBatch]:
        """Yield a batch without rows for each group of the part whose watermark moves on since a topic is idle.

        Those that are ``moving`` anyway, with rows or with their watermark, need none.
        """
        for group in self.groups.values():
            if group.part is not intake.part:
                continue
            if group.rest(intake.idle(group.partition, waits)) and group.partition not in moving:
                progress, nothing_new = dict(group.progress), {group.partition: dict[str, int]()}
                yield RecordBatch(group.part.name, [], [], [], [], [], progress, watermarks=nothing_new)

    def _bound_read_ahead(self, intake: Intake) -> None:
        held = intake.backlog()
        full = {key for key, rows in held.items() if rows > HELD_ROWS} - self._paused
        drained = {key for key in self._paused if held.get(key, 0) < HELD_ROWS // 2 and key[0] in intake.part.topics}
        self.consumer.pause(full)
        self.consumer.resume(drained)
        self._paused = (self._paused | full) - drained

    def _admit(self, batch: RecordBatch) -> RecordBatch:
        """Let ``batch`` into the dataflow as part of the open transaction."""
        self.transaction.open()
        self.current = batch
        for (topic, partition), progress in batch.progress.items():
            group = self.groups[batch.part, partition]
            group.progress[topic, partition] = progress
            group.moved = True
        for partition, watermarks in (batch.watermarks or self._watermarks(batch)).items():
            self.groups[batch.part, partition].see(watermarks)
            self._passing.note((batch.part, partition))
        self._covered.records += len(batch) + len(batch.failures)
        self._sample_times(batch)
        return batch

    def _watermarks(self, batch: RecordBatch) -> dict[int, dict[str, int]]:
        topics = self._plan.topics
        return {
            partition: {topic: time_ms - topics[topic].max_out_of_orderness_ms for topic, time_ms in newest.items()}
            for partition, newest in newest_by_partition(batch).items()
        }

    def _sample_times(self, batch: RecordBatch) -> None:
        step = max(1, len(batch) // 8)
        if len(self._covered.samples) < _LATENCY_SAMPLES:
            self._covered.samples.extend(record.timestamp()[1] for record in batch.records[::step])

    def _pass_time(self) -> list[DueTimers]:
        """Let time pass in tables as the last batch has moved their watermark; return the timers that are due."""
        changed, due = self._passing.take(self.groups)
        for group in changed:
            self.transaction.open()
            group.moved = True
        return due

    def _due_ticks(self) -> list[Tick]:
        """Return the timers that are due for what this worker owns.

        Timers of partitions go with those of the app's first part, so that each has one owner.
        """
        if not self.groups:
            return []
        first = self._plan.parts[0].name
        owned = sorted(partition for part, partition in self.groups if part == first)
        ticks = self.stations.schedule.due(owned)
        if ticks:
            self.transaction.open()
            for group in self.groups.values():
                group.moved = True
        return ticks

    # --- the commit ---------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        """Close the open transaction, if any: pushes, then what the transaction's own steps say."""
        if not self.transaction.is_open:
            return
        started = self.clock.monotonic()
        self.stations.flush_pushes()
        for marker in self._announcing.take(self.groups.values()):
            self.transaction.produce_one(marker, "the markers of a regrouping")
        frozen = [(group, commit) for group in self.groups.values() if (commit := group.freeze(self._plan))]
        offsets = self.transaction.commit(Frozen([commit for _, commit in frozen], self.consumer.membership))
        self.healthy = True
        now = self.clock.monotonic()
        for (group, commit), offset in zip(frozen, offsets, strict=True):
            group.state_from, group.state_offset = commit.state_from, offset
            group.moved, group.committed_at = False, now
        self._observer.committed(self._covered.records, now - started)
        wall_ms = self.clock.now_ms()
        self._observer.latencies([(wall_ms - sample) / 1000 for sample in self._covered.samples])
        self._covered = _Openings()
        if self._quarantine.is_active and self._quarantine.settle(self._positions()):
            raise EngineRestart("what the broker refused is settled: going on with full batches")

    def write(self, output: StepOutput) -> None:
        """Produce what a step made, into the open transaction."""
        for columns in output.columns:
            self.transaction.produce_columns(
                columns.topic,
                columns.values,
                columns.keys,
                lambda origins=columns.origins: [Origin(output.step, place) for place in origins()],
                columns.timestamps_ms,
                columns.headers,
            )
            self._observer.emitted(columns.topic, len(columns.values))
        for emission, place in output.messages:
            self.transaction.produce_one(emission, Origin(output.step, place) if place else f"step {output.step!r}")
        for topic, messages in Counter(emission.topic for emission, _ in output.messages).items():
            self._observer.emitted(topic, messages)

    # --- ownership ----------------------------------------------------------------------------------------------

    def on_assigned(self, partitions: Sequence[TopicPartitionKey]) -> None:
        """Note what the group gave; it is taken over step by step, outside this callback."""
        self._joined = True
        groups = complete_groups(self._plan.parts, partitions)
        owned = {key for group in groups for key in group.inputs}
        if owned != set(partitions):
            odd = ", ".join(f"{topic}[{number}]" for topic, number in sorted(set(partitions) - owned))
            raise ConfigurationError(
                f"got {odd} without the other topics' same partitions: topics that one agent reads together need equal"
                " numbers of partitions. 'streamserve topics check MODULE:APP' compares them."
            )
        by_topic: dict[str, list[int]] = {}
        for topic, number in partitions:
            by_topic.setdefault(topic, []).append(number)
        if groups:
            self._observer.ready(False, "restoring partitions")
        self._observer.assigned(by_topic)
        if not groups:
            if self.stations.global_tables.loaded:
                self._observer.ready(True, "")  # a stand-by: there are more workers than partitions
            return
        self._handover.begin(groups)

    def on_revoked(self, partitions: Sequence[TopicPartitionKey], *, lost: bool) -> None:
        """End the open transaction before the partitions leave: committed, or aborted when they may be gone already."""
        if self._stations is None:
            return
        self._pending.clear()
        for intake in self.stations.intakes.values():
            intake.forget()
        self._paused.clear()
        self._handover.forget()
        self._observer.ready(False, "waiting for partitions")
        if lost:
            self.transaction.abort()
            raise TransactionAborted(f"the group gave {len(partitions)} partition(s) away without asking")
        self._commit()
        self._settle_stores()
        self._handover.park(self.groups)
        self.groups = {}

    def _settle_stores(self) -> None:
        """Learn, while nobody else may write there, up to where tables on disk hold their changelogs."""
        settle(self.groups.values(), self._plan, self.consumer, self._settings.instance)

    def _take_over(self) -> None:
        """Go on with taking over what was assigned, one bounded piece at a time."""
        started = self._handover.step()
        if started:
            self.groups.update((group.key, group) for group in started)
            self._waiting.begin([key for group in started for key in group.inputs])
            for group in started:
                self._passing.note(group.key)
                progress = {topic: progress for (topic, _), progress in group.progress.items()}
                self.stations.intakes[group.part.name].begin(group.partition, progress)
            self._housekept = self.clock.monotonic()
            self._observer.ready(True, "")

    # --- housekeeping -------------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        """Do, between two transactions, what need not be done in each: garbage, lag figures, renewing idle offsets."""
        now = self.clock.monotonic()
        if now - self._collected > _GARBAGE_SECONDS:
            gc.collect()
            self._collected = now
        if now - self._housekept < _HOUSEKEEPING_SECONDS:
            return
        self._housekept = now
        self.healthy |= self._joined and not self._handover.busy
        self.report_lag()
        self._announce()
        self._delete_regrouped(now)
        for group in self.groups.values():
            if group.positions and group.committed_at and now - group.committed_at > _RECOMMIT_SECONDS:
                self.transaction.open()
                group.moved = True

    def _delete_regrouped(self, now: float) -> None:
        """Let the broker delete what was read of internal topics, as Kafka Streams does: nobody else reads them."""
        if self.transaction.is_open or now - self._deleted < _DELETE_SECONDS:
            return
        self._deleted = now
        topics = self._plan.topics
        done = {
            key: position
            for group in self.groups.values()
            for key, position in group.positions.items()
            if topics[key[0]].upstream is not None
        }
        if done:
            self.consumer.delete_before(done)

    def _announce(self) -> None:
        """Open a transaction for what readers of regrouped topics have not been told, if there is anything."""
        for group in filter(self._announcing.concerns, self.groups.values()):
            intake = self.stations.intakes[group.part.name]
            group.idle = intake.idle(group.partition, self._waiting.of(group.part))
        if self._announcing.overdue(self.groups.values()):
            self.transaction.open()
            for group in self.groups.values():
                group.moved = True

    def report_lag(self) -> None:
        """Tell the observer how many records wait behind each position."""
        for group in self.groups.values():
            for key in group.inputs:
                end = self.consumer.end(key)
                if end is not None:
                    self._observer.lag(*key, max(0, end - group.positions.get(key, 0)))

    def close(self) -> None:
        """Let go of all clients, whatever state they are in; commits nothing."""
        for step in (
            self.transaction.abort,
            self._let_go,
            self._leave_global_tables,
            self.consumer.close,
            self._handover.close,
            self.transaction.close,
        ):
            with suppress(StreamserveError):  # this incarnation is over for another reason
                step()

    def _leave_global_tables(self) -> None:
        if self._stations is not None:
            self._stations.global_tables.close()

    def _let_go(self) -> None:
        """Close the stores before the consumer takes leave, which would ask for a commit."""
        let_go(self.groups.values())
        self.groups = {}


def _cause(error: BaseException) -> str:
    """Return the class name of the innermost cause of ``error``."""
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__
