"""Drives agents by hand: many instances side by side, their awaits answered in batches, no event loop.

Every instance is an async generator (or a coroutine) that is parked at an await at any time: at the stream, waiting for
its next event, or at an effect. A round resumes all instances whose effects were answered; then the effects of one
target are answered together: one read of the features, one run of the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from types import GeneratorType
from typing import Any, Protocol

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.effects import Ask, Gather, Next, Send, Target
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

    __slots__ = ("coroutine", "gathering", "generator", "outputs", "queue", "row", "wants_record")

    def __init__(self) -> None:
        self.generator: Any = None
        self.coroutine: Any = None
        self.queue: deque[int] = deque()
        self.row: int | None = None
        self.wants_record = False
        self.outputs: list[Any] = []
        self.gathering: _Gathering | None = None

    def discard(self) -> None:
        """Let go of the agent's frame; the next event starts a fresh one."""
        self.coroutine = self.generator = self.gathering = None


class _Waiting:
    """The requests to one target that wait for their answer: who asks, for which row, what, as which part of a gather.

    The lists are parallel; a request outside a gather is part ``None``.
    """

    __slots__ = ("instances", "parts", "payloads", "rows")

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.rows: list[int] = []
        self.payloads: list[Any] = []
        self.parts: dict[int, int] = {}


class _Gathering:
    """The answers of a ``gather`` so far."""

    __slots__ = ("answers", "error", "open")

    def __init__(self, parts: int) -> None:
        self.answers: list[Any] = [None] * parts
        self.open = parts
        self.error: Exception | None = None


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
        self._waiting: dict[Target, _Waiting] = {}

    def run(self, batch: RecordBatch) -> Outcomes:
        """Take every event of ``batch`` to its end."""
        self._outcomes, self._batch, self._events = Outcomes(len(batch)), batch, batch.values
        for instance in self._distribute(batch):
            value = None if instance.coroutine is None else self._next(instance)
            self._advance(instance, value, None)
        while self._waiting:
            self._answer(batch)
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
                effect: Any = coroutine.send(value) if error is None else coroutine.throw(error)
            except Exception as ended:
                value = error = None
                self._ended(instance, ended)
                if instance.coroutine is None and not instance.queue:
                    return
                continue
            kind: type[object] = type(effect)
            if kind is Ask:
                self._park(instance, effect)
                return
            if kind is Next:
                self._finish(instance)
                instance.wants_record = effect.whole
                if not instance.queue:
                    return
                value, error = self._next(instance), None
                continue
            value, error, parked = self._special(instance, effect)
            if parked:
                return

    def _park(self, instance: Instance, effect: Ask) -> _Waiting:
        """Let ``instance`` wait for the answer of the target that it asks."""
        target, payload = effect
        waiting = self._waiting.get(target)
        if waiting is None:
            waiting = self._waiting[target] = _Waiting()
        if instance.row is None:
            raise AssertionError("an effect outside an event")
        waiting.instances.append(instance)
        waiting.rows.append(instance.row)
        waiting.payloads.append(payload)
        return waiting

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
        """Park the instance with all parts at once."""
        if not effect.parts:
            return (), None, False
        requests = [_requested(part) for part in effect.parts]
        if None in requests:
            text = "streamserve.gather joins feature look-ups and predictions; for other awaits use io=True"
            return None, ConfigurationError(f"agent {self._name!r}: {text}"), False
        instance.gathering = _Gathering(len(requests))
        for position, request in enumerate(requests):
            if request is not None:
                waiting = self._park(instance, request)
                waiting.parts[len(waiting.instances) - 1] = position
        return None, None, True

    def _answer(self, batch: RecordBatch) -> None:
        """Answer all requests to the target that comes first, and resume who asked."""
        target = min(self._waiting, key=lambda waiting: waiting.priority)
        waiting = self._waiting.pop(target)
        values, errors = target.resolve(waiting.payloads, waiting.rows, batch)
        if not errors and not waiting.parts:
            for instance, value in zip(waiting.instances, values, strict=True):
                self._advance(instance, value, None)
            return
        for index, instance in enumerate(waiting.instances):
            value, error = (None, errors[index]) if index in errors else (values[index], None)
            if index in waiting.parts:
                self._collect(instance, waiting.parts[index], value, error)
            else:
                self._advance(instance, value, error)

    def _collect(self, instance: Instance, part: int, value: Any, error: Exception | None) -> None:
        """Take the answer of one part of a gather; the instance goes on with the last."""
        gathering = instance.gathering
        if gathering is None:
            return
        gathering.answers[part] = value
        gathering.error = gathering.error or error
        gathering.open -= 1
        if not gathering.open:
            instance.gathering = None
            self._advance(instance, tuple(gathering.answers), gathering.error)


def _requested(part: Any) -> Ask | None:
    """Return what one argument of ``gather`` asks for, or ``None`` where that is no single request."""
    if not isinstance(part, GeneratorType):
        return None
    generator: Any = part  # pyright: ignore[reportUnknownVariableType] - of whatever it yields
    asked = generator.send(None)
    generator.close()
    return asked if type(asked) is Ask else None


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
