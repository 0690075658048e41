"""Drives agents by hand: many instances side by side, their awaits answered in batches, no event loop.

Every instance is an async generator (or a coroutine) that is parked at an await at any time: at the stream, waiting for
its next event, or at an effect. A round resumes all instances whose effects were answered; then the effects of one
target are answered together: one read of the features, one run of the model. An agent that need not wait, since it asks
nothing or what was foreseen, stays in one instance.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import GeneratorType
from typing import Any, Final, Protocol, cast

from streamserve.dataflow.batch import RecordBatch, column_of
from streamserve.dataflow.driving.effects import NEXT_EVENT, Ask, Gather, Next, Send, Take, Target
from streamserve.dataflow.driving.faults import agent_error, foreign_await, needs_event_loop, never_reads, outside_event
from streamserve.dataflow.driving.foresight import Foresight
from streamserve.dataflow.driving.instances import Asked, Foretold, Gathering, Instance
from streamserve.dataflow.driving.scope import EventScopes, finish_event
from streamserve.dataflow.planning.nodes import Ordering
from streamserve.errors import ConfigurationError, EngineRestart, OutageError, RecordError
from streamserve.records import RawRecord

INSTANCES = 512
"""Instances of an agent with ``io=True``: as many events may wait for the world outside at once."""

_INSTANCES_BY_HAND = 1024
"""Instances of other agents: as many awaits are answered at once, and frames still fit in the processor's cache."""


class Outcomes:
    """What each row of a batch came to: its outputs, its sends, or its error.

    ``lots`` are rows that were taken together, by the last of them, which has what they came to.
    """

    __slots__ = ("errors", "lots", "outputs", "sends")

    def __init__(self, size: int) -> None:
        self.outputs: list[list[Any] | None] = [None] * size
        self.sends: dict[int, list[Send]] = {}
        self.errors: dict[int, RecordError] = {}
        self.lots: dict[int, Sequence[int]] = {}

    def fail(self, row: int, error: RecordError) -> None:
        """Let ``row``, and those taken with it, come to ``error`` and nothing else."""
        self.errors.update(dict.fromkeys(self.lots.pop(row, (row,)), error))
        self.forget(row)

    def forget(self, row: int) -> None:
        """Take back what ``row`` came to so far."""
        self.outputs[row] = None
        self.sends.pop(row, None)


class AgentDriver(Protocol):
    """Takes batches through the instances of one agent."""

    def run(self, batch: RecordBatch) -> Outcomes:
        """Take every event of ``batch`` to its end."""
        ...

    def running(self) -> list[RawRecord]:
        """Return the records whose instances run, for another thread that wonders why nothing moves."""
        ...

    def close(self) -> None:
        """End all instances."""
        ...


_IDLE: Final = object()
"""Stands for the effect of an instance that has no event left."""


class HandDriver:
    """The driver of agents without ``io=True``.

    ``start`` calls the agent's function and returns its async generator, or its coroutine where ``yields`` is false.
    ``record_of`` builds the record of a row for agents that read ``stream.records()``. ``scoped`` agents use tables or
    windows: they are given an ``EventScope`` for each event, and stand in a context of their own. ``foresight`` is the
    agent's.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Any],
        *,
        yields: bool,
        ordering: Ordering,
        record_of: Callable[[RecordBatch, int], Any],
        instances: int = _INSTANCES_BY_HAND,
        scoped: bool = False,
        foresight: Foresight | None = None,
    ) -> None:
        self._name = name
        self._start = start
        self._yields = yields
        self._ordering: Ordering = ordering
        self._record_of = record_of
        self._scoped = scoped
        self._instances = [Instance() for _ in range(instances)]
        self._outcomes = Outcomes(0)
        self._batch: RecordBatch | None = None
        self._events: Sequence[Any] = ()
        self._waiting: dict[Target, Asked] = {}
        self._began = False
        self._list_size = 0
        self._targets: set[Target] = set()
        self._foresight = foresight or Foresight()

    def run(self, batch: RecordBatch) -> Outcomes:
        """Take every event of ``batch`` to its end."""
        self._outcomes, self._batch = Outcomes(len(batch)), batch
        self._events = EventScopes(batch, self._record_of) if self._scoped else batch.values
        if not self._began and len(batch):
            self._began = True
            self._advance(self._instances[0], None, None)
        if self._list_size:
            self._run_lists(batch)
        elif len(batch):
            self._run_events(batch)
        return self._outcomes

    def _run_events(self, batch: RecordBatch) -> None:
        """Let one instance go as far as it gets alone, and others take what it left."""
        try:
            self._foresight.begin(batch)
            first = self._instances[0]
            first.queue.extend(range(len(batch)))
            self._wake([first])
            if first.queue:
                self._wake(self._spread(batch, first))
            while self._waiting:
                self._answer(batch)
            self._foresight.end(batch)
        finally:
            self._foresight.forget()

    def _run_lists(self, batch: RecordBatch) -> None:
        for instance in self._instances:
            instance.lots.clear()
        self._wake(self._distribute(batch, range(len(batch))))
        while self._waiting:
            self._answer(batch)

    def _spread(self, batch: RecordBatch, first: Instance) -> list[Instance]:
        """Let other instances take the rows behind that at which ``first`` waits; return them.

        What goes together with that row stays where it is.
        """
        rows = [first.row, *first.queue] if first.row is not None else [*first.queue]
        first.queue.clear()
        used = self._distribute(batch, rows)
        if first.row is None:
            return used
        first.queue.popleft()
        return used[1:]

    def running(self) -> list[RawRecord]:
        """Return the record of the instance that runs: the others are parked at their awaits."""
        rows = [instance.row for instance in self._instances if instance.is_running]
        return [] if self._batch is None else [self._batch.records[row] for row in rows if row is not None]

    def close(self) -> None:
        """End all instances; what waits at an await sees ``GeneratorExit``."""
        for instance in self._instances:
            if instance.coroutine is not None:
                instance.coroutine.close()
            instance.discard()

    def _distribute(self, batch: RecordBatch, rows: Sequence[int]) -> list[Instance]:
        """Queue each of ``rows`` at the instance that its ordering asks for; return the instances that got any.

        The first of them gets the first row.
        """
        found = places(self._ordering, batch, rows, self._list_size)
        instances, count = self._instances, len(self._instances)
        if isinstance(found, range):
            used = instances[: len(rows)]
            for place, instance in enumerate(used):
                instance.queue.extend(rows[place::count])
            return used
        chosen = [(place - found[0]) % count for place in found]
        for row, place in zip(rows, chosen, strict=True):
            instances[place].queue.append(row)
        return [instances[place] for place in dict.fromkeys(chosen)]

    def _wake(self, instances: Sequence[Instance]) -> None:
        """Give each instance its first event of the batch."""
        ready = [item for item in instances if item.coroutine is not None and item.wants is NEXT_EVENT]
        for instance in instances if len(ready) < len(instances) else ():
            if instance.coroutine is None:
                self._advance(instance, None, None)
            elif instance.wants is not NEXT_EVENT:
                self._advance(instance, *self._next(instance))
        rows = [instance.queue.popleft() for instance in ready]
        for instance, row in zip(ready, rows, strict=True):
            instance.row = row
        self._resume(ready, list(map(self._events.__getitem__, rows)))

    def _next(self, instance: Instance) -> tuple[Any, Exception | None]:
        """Return the next event of ``instance`` as it asked for it, or why there is no record of it."""
        wants = instance.wants
        if type(wants) is Take:
            return self._next_list(instance, wants)
        row = instance.row = instance.queue.popleft()
        if not wants.whole or self._batch is None:
            return self._events[row], None
        try:
            return self._record_of(self._batch, row), None
        except Exception as error:
            return None, error

    def _next_list(self, instance: Instance, wants: Take) -> tuple[Any, Exception | None]:
        """Return the next events of ``instance``, as many as it takes together, as ``_next`` does."""
        rows = instance.lots.next(instance.queue, wants.size)
        row = instance.row = rows[-1]
        if len(rows) > 1:
            self._outcomes.lots[row] = rows
        if not wants.whole or self._batch is None:
            return [self._events[each] for each in rows], None
        try:
            return [self._record_of(self._batch, each) for each in rows], None
        except Exception as error:
            return None, error

    def _resume(self, instances: Sequence[Instance], values: Sequence[Any]) -> None:
        """Resume each instance with the answer to its await until it waits for another one, or for an event.

        Does what ``_advance`` does to each, with all that is rare left to it: this is the work per event.
        """
        events, waiting = self._events, self._waiting
        last: Any = None
        asked = Asked()
        for instance, value in zip(instances, values, strict=True):
            send, queue = instance.send, instance.queue
            try:
                effect = send(value)
                while effect is NEXT_EVENT and queue:
                    row = instance.row = queue.popleft()
                    effect = send(events[row])
            except Exception as ended:
                effect = self._restarted(instance, ended)
            if effect.__class__ is not tuple:
                self._go_on(instance, effect)
                continue
            target, payload = effect
            if target is not last:
                last = target
                asked = waiting.get(target) or waiting.setdefault(target, Asked())
            asked.instances.append(instance)
            asked.payloads.append(payload)

    def _advance(self, instance: Instance, value: Any, error: Exception | None) -> None:
        """Resume one instance with the answer to its await, an error perhaps; start it where it has no frame."""
        if instance.coroutine is None:
            self._begin(instance)
        self._go_on(instance, self._effect(instance, value, error))

    def _effect(self, instance: Instance, value: Any, error: Exception | None) -> Any:
        """Resume ``instance`` and return what it awaits next."""
        try:
            return instance.send(value) if error is None else instance.throw(error)
        except Exception as ended:
            return self._restarted(instance, ended)

    def _go_on(self, instance: Instance, effect: Any) -> None:
        """Deal with ``effect`` and those that follow it until the instance waits for an answer, or for an event."""
        while effect is not _IDLE:
            if effect.__class__ is tuple:
                self._park(instance, effect, None)
                return
            if effect.__class__ is Next or effect.__class__ is Take:
                instance.row, instance.wants = None, effect
                if effect.__class__ is Take:
                    self._list_size = effect.size
                if not instance.queue:
                    return
                value, error = self._next(instance)
            else:
                value, error, parked = self._special(instance, effect)
                if parked:
                    return
            effect = self._effect(instance, value, error)

    def _park(self, instance: Instance, request: Ask, part: int | None) -> None:
        """Let ``instance`` wait for an answer, perhaps as part of a ``gather``."""
        target, payload = request
        asked = self._waiting.setdefault(target, Asked())
        if part is not None:
            asked.parts[len(asked.instances)] = part
        asked.instances.append(instance)
        asked.payloads.append(payload)

    def _begin(self, instance: Instance) -> None:
        """Start a fresh frame."""
        started = self._start()
        work = self._collect(instance, started) if self._yields else _finished(started) if self._scoped else started
        instance.start(work, scoped=self._scoped)

    async def _collect(self, instance: Instance, generator: AsyncIterator[Any]) -> None:
        """Run an agent that yields, and keep its outputs: awaiting it here costs less than resuming it at each."""
        async for output in generator:
            row = instance.row
            if row is None:
                raise outside_event(self._name)
            outputs = self._outcomes.outputs
            made = outputs[row]
            if made is None:
                outputs[row] = [output]
            else:
                made.append(output)
        finish_event()

    def _restarted(self, instance: Instance, ended: Exception) -> Any:
        """Settle the end of a frame, and start others until one awaits something; return what."""
        while True:
            self._ended(instance, ended)
            if not instance.queue:
                return _IDLE
            self._begin(instance)
            try:
                return instance.send(None)
            except Exception as again:
                ended = again

    def _ended(self, instance: Instance, ended: Exception) -> None:
        """The frame did not await: it returned, or raised."""
        if not isinstance(ended, StopIteration | StopAsyncIteration):
            self._failed(instance, ended)
            return
        if instance.row is None:
            raise never_reads(self._name)
        instance.row = None
        instance.discard()

    def _failed(self, instance: Instance, raised: Exception) -> None:
        """The agent raised: its event becomes one failure, its instance starts anew."""
        row = instance.row
        instance.discard()
        instance.row = None
        if isinstance(raised, (EngineRestart, OutageError, ConfigurationError)):
            raise raised
        if needs_event_loop(raised):
            raise foreign_await(self._name, raised) from raised
        if row is None:
            raise outside_event(self._name, raised) from raised
        rows = instance.lots.of(row)
        if len(rows) == 1:
            self._outcomes.fail(row, agent_error(self._name, raised))
            return
        self._outcomes.forget(row)
        del self._outcomes.lots[row]
        instance.lots.halve(instance.queue)
        for target in self._targets:
            target.forget(rows)

    def _special(self, instance: Instance, effect: Any) -> tuple[Any, Exception | None, bool]:
        """Deal with the rarer awaits; return the value or error to resume with, or that the instance is parked."""
        if type(effect) is Send:
            if instance.row is None:
                return None, outside_event(self._name), False
            self._outcomes.sends.setdefault(instance.row, []).append(effect)
            return None, None, False
        if type(effect) is Gather:
            return self._gather(instance, effect)
        return None, foreign_await(self._name, effect), False

    def _gather(self, instance: Instance, effect: Gather) -> tuple[Any, Exception | None, bool]:
        """Park the instance with all parts at once."""
        if not effect.parts:
            return (), None, False
        requests = [_requested(part) for part in effect.parts]
        if None in requests:
            text = "streamserve.gather joins feature look-ups and predictions; for other awaits use io=True"
            return None, ConfigurationError(f"agent {self._name!r}: {text}"), False
        gathering = instance.gathering = Gathering(len(requests))
        for part, request in enumerate(requests):
            if type(request) is Foretold:
                gathering.take(part, request.value, None)
            elif request is not None:
                self._park(instance, cast("Ask", request), part)
        if gathering.open:
            return None, None, True
        instance.gathering = None
        return tuple(gathering.answers), gathering.error, False

    def _answer(self, batch: RecordBatch) -> None:
        """Answer all requests to the target that comes first, and resume who asked."""
        target = min(self._waiting, key=lambda waiting: waiting.priority)
        asked = self._waiting.pop(target)
        rows = [instance.row for instance in asked.instances]
        if None in rows:
            raise outside_event(self._name)
        if self._list_size:
            rows = self._rows_meant(target, asked, batch.values)
        if self._foresight.is_learning:
            self._foresight.note(target, asked.payloads, cast("list[int]", rows))
        values, errors = target.resolve(asked.payloads, cast("list[int]", rows), batch)
        special = errors.keys() | asked.parts.keys()
        if not special:
            self._resume(asked.instances, values)
            return
        plain = [index for index in range(len(rows)) if index not in special]
        self._resume([asked.instances[index] for index in plain], [values[index] for index in plain])
        for index in sorted(special):
            value, error = (None, errors[index]) if index in errors else (values[index], None)
            self._answer_one(asked.instances[index], asked.parts.get(index), value, error)

    def _rows_meant(self, target: Target, asked: Asked, events: Sequence[Any]) -> list[int | None]:
        """Return for which row of its list each instance asks."""
        self._targets.add(target)
        pairs = zip(asked.instances, asked.payloads, strict=True)
        return [each.lots.meant(payload, each.row or 0, events) for each, payload in pairs]

    def _answer_one(self, instance: Instance, part: int | None, value: Any, error: Exception | None) -> None:
        """Resume one instance; one that gathers goes on with the last of its answers."""
        if part is None:
            self._advance(instance, value, error)
            return
        gathering = instance.gathering
        if gathering is None:
            return
        gathering.take(part, value, error)
        if not gathering.open:
            instance.gathering = None
            self._advance(instance, tuple(gathering.answers), gathering.error)


async def _finished(started: Awaitable[None]) -> None:
    await started
    finish_event()


def _requested(part: Any) -> Ask | Foretold | None:
    """Return what one argument of ``gather`` asks for, or its answer; ``None`` where that is no single request."""
    if not isinstance(part, GeneratorType):
        return None
    generator: Any = part  # pyright: ignore[reportUnknownVariableType] - of whatever it yields
    try:
        asked = generator.send(None)
    except StopIteration as ended:
        return Foretold(ended.value)
    generator.close()
    return cast("Ask", asked) if type(asked) is tuple else None


def places(ordering: Ordering, batch: RecordBatch, rows: Sequence[int], list_size: int = 0) -> Sequence[int]:
    """Return, for each of ``rows``, a number that is equal for those that one instance must take in order.

    An agent that takes lists of up to ``list_size`` rows gets them by partition, which keeps the order of keys too.

    Keys are numbered as they come, so that instances get about as many of them; where no two rows go together, it is
    a range.
    """
    if ordering == "partition" or (list_size and ordering == "key"):
        return [batch.partitions[row] for row in rows]
    count = range(len(rows))
    if list_size:
        return [place // list_size for place in count]
    if ordering == "unordered":
        return count
    keys: list[bytes | int | None] = column_of([batch.records[row] for row in rows], "key")
    if None in keys:
        keys = [place if key is None else key for place, key in enumerate(keys)]
    distinct = dict.fromkeys(keys)
    if len(distinct) == len(keys):
        return count
    return list(map(dict(zip(distinct, count, strict=False)).__getitem__, keys))
