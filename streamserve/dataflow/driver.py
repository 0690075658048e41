"""Drives agents by hand: many instances side by side, their awaits answered in batches, no event loop.

Every instance is an async generator (or a coroutine) that is parked at an await at any time: at the stream, waiting for
its next event, or at an effect. A round resumes all instances whose effects were answered; then the effects of one
target are answered together: one read of the features, one run of the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.effects import NEXT_EVENT, NEXT_RECORD, Effect, Gather, Send, Target
from streamserve.dataflow.plan import Ordering
from streamserve.errors import AgentError, ConfigurationError, EngineRestart, OutageError, RecordError

INSTANCES = 512
"""Instances of an agent: about what fills a model's batch, few enough to stay in the processor's cache."""


class Outcomes:
    """What each row of a batch came to: its outputs, its sends, or its error."""

    __slots__ = ("errors", "outputs", "sends")

    def __init__(self, size: int) -> None:
        self.outputs: list[list[Any] | None] = [None] * size
        self.sends: dict[int, list[Send]] = {}
        self.errors: dict[int, RecordError] = {}

    def fail(self, row: int, error: RecordError) -> None:
        """Let ``row`` come to ``error`` and nothing else."""
        self.errors[row] = error
        self.outputs[row] = None
        self.sends.pop(row, None)


class AgentDriver(Protocol):
    """Takes batches through the instances of one agent."""

    def run(self, batch: RecordBatch) -> Outcomes:
        """Take every event of ``batch`` to its end."""
        ...

    def close(self) -> None:
        """End all instances."""
        ...


class Instance:
    """One instance of the agent and the events that wait for it."""

    __slots__ = ("collected", "coroutine", "gathering", "generator", "outputs", "queue", "row", "wants_record")

    def __init__(self) -> None:
        self.generator: Any = None
        self.coroutine: Any = None
        self.queue: deque[int] = deque()
        self.row: int | None = None
        self.wants_record = False
        self.outputs: list[Any] = []
        self.gathering = 0
        self.collected: list[Any] = []

    def discard(self) -> None:
        """Let go of the agent's frame; the next event starts a fresh one."""
        self.coroutine = self.generator = None
        self.gathering = 0


class _Sub:
    """One part of a ``Gather``: where its answer goes."""

    __slots__ = ("instance", "position")

    def __init__(self, instance: Instance, position: int) -> None:
        self.instance = instance
        self.position = position


class HandDriver:
    """The driver of agents without ``io=True``.

    ``start`` calls the agent's function and returns its async generator, or its coroutine where ``yields`` is false.
    ``record_of`` builds the record of a row for agents that read ``stream.records()``.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Any],
        *,
        yields: bool,
        ordering: Ordering,
        record_of: Callable[[RecordBatch, int], Any],
        instances: int = INSTANCES,
    ) -> None:
        self._name = name
        self._start = start
        self._yields = yields
        self._ordering: Ordering = ordering
        self._record_of = record_of
        self._instances = [Instance() for _ in range(instances)]
        self._outcomes = Outcomes(0)
        self._batch: RecordBatch | None = None
        self._events: Sequence[Any] = ()
        self._waiting: dict[Target, list[tuple[Instance | _Sub, Any]]] = {}

    def run(self, batch: RecordBatch) -> Outcomes:
        """Take every event of ``batch`` to its end."""
        self._outcomes, self._batch, self._events = Outcomes(len(batch)), batch, batch.values
        for instance in self._distribute(batch):
            value = None if instance.coroutine is None else self._next(instance)
            self._advance(instance, value, None)
        while self._waiting:
            for instance, value, error in self._answer(batch):
                self._advance(instance, value, error)
        return self._outcomes

    def close(self) -> None:
        """End all instances; what waits at an await sees ``GeneratorExit``."""
        for instance in self._instances:
            for frame in (instance.coroutine, instance.generator):
                close = getattr(frame, "close", None)
                if close is not None:
                    close()
            instance.discard()

    def _distribute(self, batch: RecordBatch) -> list[Instance]:
        """Queue each row at the instance that its ordering asks for; return the instances that got any."""
        instances, count = self._instances, len(self._instances)
        for row, place in enumerate(places(self._ordering, batch)):
            instances[place % count].queue.append(row)
        return [instance for instance in instances if instance.queue]

    def _next(self, instance: Instance) -> Any:
        """Return the next event of ``instance``, in the form in which it asked for it."""
        row = instance.row = instance.queue.popleft()
        if instance.wants_record and self._batch is not None:
            return self._record_of(self._batch, row)
        return self._events[row]

    def _advance(self, instance: Instance, value: Any, error: Exception | None) -> None:
        """Resume ``instance`` with the answer to its await until it waits for one again, or for an event."""
        while True:
            coroutine = instance.coroutine or self._begin(instance)
            try:
                effect = coroutine.send(value) if error is None else coroutine.throw(error)
            except Exception as ended:
                value = error = None
                self._ended(instance, ended)
                if instance.coroutine is None and not instance.queue:
                    return
                continue
            if type(effect) is Effect:
                self._waiting.setdefault(effect.target, []).append((instance, effect.payload))
                return
            if effect is NEXT_EVENT or effect is NEXT_RECORD:
                self._finish(instance)
                instance.wants_record = effect is NEXT_RECORD
                if not instance.queue:
                    return
                value, error = self._next(instance), None
                continue
            value, error, parked = self._special(instance, effect)
            if parked:
                return

    def _begin(self, instance: Instance) -> Any:
        """Start a fresh frame."""
        started = self._start()
        if self._yields:
            instance.generator = started
            started = started.__anext__()
        instance.coroutine = started
        return started

    def _ended(self, instance: Instance, ended: Exception) -> None:
        """The frame did not await: it yielded, returned, or raised."""
        if type(ended) is StopIteration and self._yields:
            instance.outputs.append(ended.value)
            instance.coroutine = instance.generator.__anext__()
        elif isinstance(ended, StopIteration | StopAsyncIteration):
            if instance.row is None:
                raise never_reads(self._name)
            self._finish(instance)
            instance.discard()
        else:
            self._failed(instance, ended)

    def _finish(self, instance: Instance) -> None:
        """The instance is done with its event: what it wrote for it is final."""
        if instance.row is None:
            return
        if instance.outputs:
            self._outcomes.outputs[instance.row] = instance.outputs
            instance.outputs = []
        instance.row = None

    def _failed(self, instance: Instance, raised: Exception) -> None:
        """The agent raised: its event becomes one failure, its instance starts anew."""
        row = instance.row
        instance.discard()
        instance.outputs = []
        instance.row = None
        if isinstance(raised, (EngineRestart, OutageError, ConfigurationError)) or row is None:
            raise raised
        self._outcomes.fail(row, agent_error(self._name, raised))

    def _special(self, instance: Instance, effect: Any) -> tuple[Any, Exception | None, bool]:
        """Deal with the rarer awaits; return the value or error to resume with, or that the instance is parked."""
        if type(effect) is Send:
            if instance.row is not None:
                self._outcomes.sends.setdefault(instance.row, []).append(effect)
            return None, None, False
        if type(effect) is Gather:
            return self._gather(instance, effect)
        return None, foreign_await(self._name, effect), False

    def _gather(self, instance: Instance, effect: Gather) -> tuple[Any, Exception | None, bool]:
        if not effect.parts:
            return (), None, False
        if not all(type(part) is Effect for part in effect.parts):
            text = "streamserve.gather joins feature look-ups and predictions; for other awaits use io=True"
            return None, ConfigurationError(f"agent {self._name!r}: {text}"), False
        instance.gathering = len(effect.parts)
        instance.collected = [None] * len(effect.parts)
        for position, part in enumerate(effect.parts):
            if isinstance(part, Effect):
                self._waiting.setdefault(part.target, []).append((_Sub(instance, position), part.payload))
        return None, None, True

    def _answer(self, batch: RecordBatch) -> list[tuple[Instance, Any, Exception | None]]:
        """Answer all effects of the target that comes first; return the instances that can go on."""
        if not self._waiting:
            return []
        target = min(self._waiting, key=lambda waiting: waiting.priority)
        asked = self._waiting.pop(target)
        rows = [self._row_of(who) for who, _ in asked]
        answers = target.resolve([payload for _, payload in asked], rows, batch)
        ready: list[tuple[Instance, Any, Exception | None]] = []
        for (who, _), answer in zip(asked, answers, strict=True):
            if type(who) is Instance:
                failed = isinstance(answer, Exception)
                ready.append((who, None, answer) if failed else (who, answer, None))
            else:
                ready.extend(self._collect(who, answer))
        return ready

    @staticmethod
    def _row_of(who: Instance | _Sub) -> int:
        row = who.row if isinstance(who, Instance) else who.instance.row
        if row is None:
            raise AssertionError("an effect outside an event")
        return row

    @staticmethod
    def _collect(who: Any, answer: Any) -> list[tuple[Instance, Any, Exception | None]]:
        """Take one answer of a gather; the instance goes on with the last of them."""
        instance: Instance = who.instance
        instance.collected[who.position] = answer
        instance.gathering -= 1
        if instance.gathering:
            return []
        failure = next((item for item in instance.collected if isinstance(item, Exception)), None)
        return [(instance, None if failure else tuple(instance.collected), failure)]


def places(ordering: Ordering, batch: RecordBatch) -> Sequence[int]:
    """Return, for each row, a number that is equal for rows that one instance must take in order."""
    if ordering == "unordered":
        return range(len(batch))
    if ordering == "partition":
        return [record.partition() or 0 for record in batch.records]
    keys = [record.key() for record in batch.records]
    return [row if key is None else hash(key) for row, key in enumerate(keys)]


def never_reads(agent: str) -> ConfigurationError:
    """Return what is raised for an agent that ends without having asked for an event."""
    return ConfigurationError(f"agent {agent!r} ended without reading its stream: write 'async for event in stream:'")


def agent_error(agent: str, raised: Exception) -> RecordError:
    """Return the failure that an agent's exception makes: its class, never its text, which may hold payload."""
    if isinstance(raised, RecordError):
        return raised
    error = AgentError(f"agent {agent!r} raised {type(raised).__name__}{_line_of(raised)}")
    error.__cause__ = raised
    return error


def _line_of(raised: Exception) -> str:
    """Return the file and line at which ``raised`` came up, as far as the traceback tells."""
    trace = raised.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename.rsplit("/", 1)[-1]
    return f" at {file}:{trace.tb_lineno}"


def foreign_await(agent: str, effect: object) -> ConfigurationError:
    """Return what is raised at an await that only an event loop can answer."""
    return ConfigurationError(
        f"agent {agent!r} awaits {type(effect).__name__}, which needs an event loop: declare it with io=True."
        " Without it an agent may await features, models, streamserve.gather and topic.send."
    )
