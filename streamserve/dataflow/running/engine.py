"""One incarnation of the engine: what happens between two batches.

The source step calls ``turn`` whenever everything it gave out has been through all branches. There, and only there, the
transaction is opened and closed, partitions are taken over, and timers come due. Any failure ends the incarnation; the
worker starts another from what is committed, on the same path as after ``kill -9``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from streamserve.clock import Clock
from streamserve.dataflow.arriving.announcing import Announcing
from streamserve.dataflow.arriving.intake import Intake
from streamserve.dataflow.arriving.reading import Reading
from streamserve.dataflow.arriving.waiting import Waiting
from streamserve.dataflow.batch import DueTimers, RecordBatch, StepOutput, Tick
from streamserve.dataflow.owning.alarms import Alarms
from streamserve.dataflow.owning.global_tables import GlobalTables
from streamserve.dataflow.owning.groups import Group, GroupState, complete_groups
from streamserve.dataflow.owning.handover import Handover
from streamserve.dataflow.owning.held import HeldTables
from streamserve.dataflow.owning.loading import SLICE_SECONDS
from streamserve.dataflow.owning.passing import Passing
from streamserve.dataflow.owning.stores import let_go, settle
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.dataflow.running.blame import Blame
from streamserve.dataflow.running.control import Control
from streamserve.dataflow.running.covered import Covered
from streamserve.dataflow.running.housekeeping import Housekeeping
from streamserve.dataflow.running.pieces import Pieces
from streamserve.dataflow.running.schedule import Schedule
from streamserve.dataflow.running.writing import write_output
from streamserve.durations import to_milliseconds
from streamserve.errors import ConfigurationError, EngineRestart, StreamserveError, TransactionAborted
from streamserve.kafka.calls import Calls
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.kafka.quarantine import Quarantine
from streamserve.kafka.transaction import Frozen, Transaction
from streamserve.observer import Observer
from streamserve.settings import Settings
from streamserve.state.base import ChangelogState

Item: TypeAlias = RecordBatch | DueTimers | Tick

_IDLE_SECONDS = 0.05


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
        self._joined = False  # whether it has its share of the group's partitions, none perhaps
        self._given: Sequence[Group] = ()
        self._paused: bool | None = None
        self._control = Control(plan, settings, calls, partitions, clock)
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
        self._covered = Covered(clock, dated=[tee.topic for tee in plan.tees])
        self.groups: dict[GroupKey, Group] = {}
        self._pieces = Pieces(plan, self.groups)
        self._blame = Blame(plan, quarantine, self.groups)
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
        self._alarms = Alarms(plan, clock)
        self._announcing = Announcing(plan, partitions, clock)
        self._house = Housekeeping(plan, self.consumer, clock, observer)
        waiting = Waiting(plan, settings, self.consumer, clock)
        self._reading = Reading(plan, self.consumer, waiting, self.groups, observer)
        self._handover = Handover(plan, settings, calls, self.consumer, self._new_states, self._new_tables, observer)

    def attach(self, stations: Stations) -> None:
        """Connect the compiled dataflow; before the first turn."""
        self._stations = stations
        self._reading.attach(stations.intakes)

    def join(self) -> None:
        """Ask the group for partitions; turns have to follow, since its other members wait for this one from now on."""
        self._observer.joining(self._plan.app)
        self.consumer.join()

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
    def failure(self) -> BaseException | None:
        """Return why this incarnation is over, ``None`` as long as it is not."""
        return self._blame.failure

    @property
    def failed(self) -> bool:
        """Return whether this incarnation is over."""
        return self._blame.failure is not None

    def fail(self, error: BaseException) -> None:
        """End this incarnation; the first reason counts."""
        self._blame.fail(error)

    def blame(self, panic: Exception) -> None:
        """End this incarnation since user operators raised, at the batch that went through them last."""
        self._blame.operators_raised(panic, self.current)

    def guarded_turn(self) -> list[Item] | None:
        """Take a turn unless a step failed in the last."""
        if self.failure is not None:
            raise self.failure
        return self.turn()

    # --- the turn -----------------------------------------------------------------------------------------------

    def turn(self) -> list[Item] | None:
        """Return what goes through the dataflow next, nothing for now, or ``None`` at the end."""
        self._observer.progress()
        if self._pieces.is_open:
            return self._go_on()
        if self._is_full():
            self._commit()
            self._keep_house()
        if due := self._pass_time():
            return list(due)
        self.stations.held.serve(self.groups)
        self._read_global_tables()
        if self.stopping:
            self._commit()
            self._settle_stores()
            return None
        if self._pending:
            return self._admit(self._pending.popleft())
        self._heed_control()
        if self._paused:
            return self._rest()
        if self.stations.global_tables.loaded and self._control.loaded:
            self._take_over()
        due_now: list[Item] = [*self._due_ticks(), *self._due_alarms()]
        return due_now or self._poll()

    def _read_global_tables(self) -> None:
        """Read global tables on; nothing is taken over before all are loaded."""
        tables = self.stations.global_tables
        were_loaded = tables.loaded
        tables.step()
        stands_by = self._joined and not self._handover.busy and not self._paused
        if tables.loaded and not were_loaded and stands_by:
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
        return self._admit(self._pending.popleft())

    def _arrived(self) -> list[RecordBatch]:
        """Return what can be processed now; an idle worker waits for the first record."""
        works = self._handover.busy and not self._handover.waits
        loaded = self.stations.global_tables.loaded and self._control.loaded
        busy = self.transaction.is_open or works or not loaded
        limit = self._quarantine.batch_limit(self._settings.max_poll_records)
        records = self.consumer.poll(limit, 0.0 if busy else self._idle_seconds())
        singly = self._quarantine.one_by_one
        return self._reading.take(records, singly=singly) if records else self._reading.release(singly=singly)

    def _idle_seconds(self) -> float:
        if self._handover.busy:
            return SLICE_SECONDS
        if not self.groups:
            return _IDLE_SECONDS
        return min(_IDLE_SECONDS, self.stations.schedule.seconds_to_next(), self._alarms.seconds_to_next(self.groups))

    def _admit(self, batch: RecordBatch) -> list[Item]:
        """Let ``batch`` into the open transaction; return what of it goes through the dataflow first."""
        self.transaction.open()
        for (topic, partition), progress in batch.progress.items():
            group = self.groups[batch.part, partition]
            if group.states and not group.moved:
                self.transaction.register(self._plan.state_topic, partition)
            group.progress[topic, partition] = progress
            group.moved = True
        self._covered.add(batch)
        for key in self._pieces.begin(batch):
            self._note(key)
        return self._go_on()

    def _go_on(self) -> list[Item]:
        """Return the timers that are due before the next piece of the batch that is open, or else that piece."""
        if due := self._pass_time():
            return list(due)
        piece = self.current = self._pieces.next()
        for partition in {partition for _, partition in piece.progress} | set(piece.partitions):
            self._note((piece.part, partition))
        return [piece]

    def _pass_time(self) -> list[DueTimers]:
        """Let time pass in tables as the last batch has moved their watermark; return the timers that are due."""
        changed, due = self._passing.take(self.groups)
        self._move(changed)
        for group in changed:
            self._alarms.note(group.key)
        return due

    def _due_alarms(self) -> list[DueTimers]:
        """Return the timers of tables that the worker's clock makes due."""
        due = self._alarms.take(self.groups)
        for key in dict.fromkeys((each.part, each.partition) for each in due):
            self._move([self.groups[key]])
            self._note(key)
        return due

    def _note(self, key: GroupKey) -> None:
        """Have timers of a group looked for after what runs next: they may be set, or its watermark move."""
        self._passing.note(key)
        self._alarms.note(key)

    def _due_ticks(self) -> list[Tick]:
        """Return the timers that are due for what this worker owns.

        Timers of partitions go with those of the app's first part, so that each has one owner. Those of partitions
        that are still being taken over are kept.
        """
        if not self.groups:
            self._stand_by()
            return []
        first = self._plan.parts[0].name
        owned = sorted(partition for part, partition in self.groups if part == first)
        awaited = {group.partition for group in self._handover.groups if group.part.name == first}
        ticks = self.stations.schedule.due(owned, awaited)
        if ticks:
            self._move(self.groups.values())
        return ticks

    def _stand_by(self) -> None:
        """Let timers pass that others run, while this worker has nothing and is given nothing.

        What comes due while partitions change hands is kept for who gets them.
        """
        if self._joined and not self._handover.busy:
            self.stations.schedule.pass_over()

    def _move(self, groups: Iterable[Group]) -> None:
        """Have the transaction commit the positions of ``groups`` once more: without any it would not be fenced."""
        for group in groups:
            self.transaction.open()
            group.moved = True

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
        self._covered.tell(self._observer, now - started)
        if not self._quarantine.is_active or self._handover.busy:
            return  # while not all that is owned is read, some of the suspects may be still to come
        if self._quarantine.settle(self._blame.positions()):
            raise EngineRestart("what the broker refused is settled: going on with full batches")

    def write(self, output: StepOutput) -> None:
        """Produce what a step made, into the open transaction."""
        write_output(output, self.transaction, self._observer)

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
        self._given = groups
        self._observer.assigned(by_topic)
        self._begin()

    def _begin(self) -> None:
        """Start to take over what was given, unless the app is paused."""
        if self._paused:
            self._let_rest()
            return
        self._handover.begin(self._given)
        if self._given:
            self._observer.ready(False, self._handover.describe())
        elif self.stations.global_tables.loaded:
            self._observer.ready(True, "")  # a stand-by: there are more workers than partitions

    def on_revoked(self, partitions: Sequence[TopicPartitionKey], *, lost: bool) -> None:
        """End the open transaction before the partitions leave: committed, or aborted when they may be gone already."""
        if self._stations is None:
            return
        self._given = ()
        self._pending.clear()
        self._reading.forget()
        self._joined = False
        if not self.stopping:
            self._observer.ready(False, "waiting for partitions")
        if lost:
            self.transaction.abort()
            raise TransactionAborted(
                f"the group gave {len(partitions)} partition(s) away without asking: Kafka did not answer this worker,"
                f" or not hear of it, for {self._settings.session_timeout} (STREAMSERVE_SESSION_TIMEOUT)"
            )
        self._park()

    def _park(self) -> None:
        """Commit, and keep all groups for the case that they come back unchanged."""
        self._commit()
        self._settle_stores()
        self._handover.forget()
        self._handover.park(self.groups)
        self.groups.clear()

    def _settle_stores(self) -> None:
        """Learn, while nobody else may write there, up to where tables on disk hold their changelogs."""
        settle(self.groups.values(), self._plan, self.consumer, self._settings.instance)

    def _take_over(self) -> None:
        """Go on with taking over what was assigned, one bounded piece at a time; what is ready is read from now on."""
        started = self._handover.step(alone=not self.groups)
        if started:
            self.groups.update((group.key, group) for group in started)
            self._reading.begin(started)
            for group in started:
                self._note(group.key)
            self._house.put_off()
            busy = self._handover.busy
            self._observer.ready(not busy, self._handover.describe() if busy else "")

    # --- pause and resume ---------------------------------------------------------------------------------------

    def _heed_control(self) -> None:
        """Do as the control topic says, between two batches."""
        self._control.listen()
        if not self._control.loaded or self._control.paused is self._paused:
            return
        was_paused, self._paused = self._paused, self._control.paused
        if self._paused:
            self._pause()
        elif was_paused and self._joined:
            self._begin()
        self._observer.paused(self._paused, self._control.why if self._paused else "")

    def _pause(self) -> None:
        """Commit what is open and read nothing more; partitions and membership stay, and state stays in memory.

        All is as if the partitions had been taken away for a while: ``_begin`` gives them back.
        """
        self._reading.forget()
        self._park()
        self._let_rest()

    def _let_rest(self) -> None:
        self.consumer.rest([key for group in self._given for key in group.inputs])
        self._observer.ready(False, self._control.why)

    def _rest(self) -> list[Item]:
        """Stay in the group, and let timers pass."""
        self.consumer.poll(1, _IDLE_SECONDS)  # of rebalances alone: nothing is fetched
        self._stand_by()
        self._keep_house()
        return []

    # --- housekeeping, and the end ------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        """Do, between two transactions, what need not be done in each."""
        self._house.collect_garbage()
        if not self._house.is_due():
            return
        self.healthy |= self._joined and not self._handover.busy
        self._house.report_lag(self.groups.values())
        self._announce()
        if not self.transaction.is_open:
            self._house.delete_regrouped(self.groups.values())
        self._move(self._house.expiring(self.groups.values()))

    def _announce(self) -> None:
        """Open a transaction for what readers of regrouped topics have not been told, if there is anything."""
        for group in filter(self._announcing.concerns, self.groups.values()):
            group.idle = self._reading.idle_topics(group)
        if self._announcing.overdue(self.groups.values()):
            self._move(self.groups.values())

    def close(self) -> None:
        """Let go of all clients, whatever state they are in; commits nothing."""
        for step in (
            self.transaction.abort,
            self._let_go,
            self._leave_global_tables,
            self._control.close,
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
        self.groups.clear()
