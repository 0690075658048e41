"""Drives agents by hand: many instances side by side, their awaits answered in batches, no event loop.

Every instance is an async generator (or a coroutine) that is parked at an await at any time: at the stream, waiting for
its next event, or at an effect. A round resumes all instances whose effects were answered; then the effects of one
target are answered together: one read of the features, one run of the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from types import GeneratorType, TracebackType
from typing import Any, Protocol, TypeAlias, cast

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


class _Gathering:
    """The answers of a ``gather`` so far."""

    __slots__ = ("answers", "error", "open")

    def __init__(self, parts: int) -> None:
        self.answers: list[Any] = [None] * parts
        self.open = parts
        self.error: Exception | None = None


_Asked: TypeAlias = tuple[Instance, int | None, Any, int | None]
"""Who asks, for which row, what, and as which part of a ``gather`` (``None``: outside one)."""


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
        self._waiting: dict[Target, list[_Asked]] = {}

    def run(self, batch: RecordBatch) -> Outcomes:
        """Take every event of ``batch`` to its end."""
        self._outcomes, self._batch, self._events = Outcomes(len(batch)), batch, batch.values
        for instance in self._distribute(batch):
            value, error = (None, None) if instance.coroutine is None else self._next(instance)
            self._advance(instance, value, error)
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

    def _next(self, instance: Instance) -> tuple[Any, Exception | None]:
        """Return the next event of ``instance`` as it asked for it, or why there is no record of it."""
        row = instance.row = instance.queue.popleft()
        if not instance.wants_record or self._batch is None:
            return self._events[row], None
        try:
            return self._record_of(self._batch, row), None
        except Exception as error:
            return None, error

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
            kind: Any = effect.__class__
            if kind is tuple:
                target, payload = effect
                self._waiting.setdefault(target, []).append((instance, instance.row, payload, None))
                return
            if kind is not Next:
                value, error, parked = self._special(instance, effect)
                if parked:
                    return
                continue
            if instance.outputs and instance.row is not None:  # as in _finish, without the call: this is per event
                self._outcomes.outputs[instance.row] = instance.outputs
                instance.outputs = []
            instance.row = None
            instance.wants_record = effect.whole
            if not instance.queue:
                return
            value, error = self._next(instance)

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
            if instance.row is None:
                raise outside_event(self._name)
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
        if isinstance(raised, (EngineRestart, OutageError, ConfigurationError)):
            raise raised
        if needs_event_loop(raised):
            raise foreign_await(self._name, raised) from raised
        if row is None:
            raise outside_event(self._name, raised) from raised
        self._outcomes.fail(row, agent_error(self._name, raised))

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
        instance.gathering = _Gathering(len(requests))
        for part, request in enumerate(requests):
            if request is not None:
                self._waiting.setdefault(request[0], []).append((instance, instance.row, request[1], part))
        return None, None, True

    def _answer(self, batch: RecordBatch) -> None:
        """Answer all requests to the target that comes first, and resume who asked."""
        target = min(self._waiting, key=lambda waiting: waiting.priority)
        instances, rows, payloads, parts = zip(*self._waiting.pop(target), strict=True)
        if None in rows:
            raise outside_event(self._name)
        values, errors = target.resolve(payloads, rows, batch)
        if not errors and parts.count(None) == len(parts):
            for instance, value in zip(instances, values, strict=True):
                self._advance(instance, value, None)
            return
        for index, (instance, part) in enumerate(zip(instances, parts, strict=True)):
            value, error = (None, errors[index]) if index in errors else (values[index], None)
            if part is None:
                self._advance(instance, value, error)
            else:
                self._collect(instance, part, value, error)

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
    return cast("Ask", asked) if type(asked) is tuple else None


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


def outside_event(agent: str, raised: BaseException | None = None) -> ConfigurationError:
    """Return what is raised when an agent fails, writes or asks before it has an event that this could belong to."""
    what = f"raised {type(raised).__name__}{_line_of(raised)}" if raised is not None else "writes or asks"
    return ConfigurationError(
        f"agent {agent!r} {what} before it has read an event: do it inside 'async for event in stream:', or once for"
        " the worker in a lifespan"
    )


def agent_error(agent: str, raised: BaseException) -> RecordError:
    """Return the failure that an agent's exception makes: its class, never its text, which may hold payload."""
    if isinstance(raised, RecordError):
        return raised
    error = AgentError(f"agent {agent!r} raised {type(raised).__name__}{_line_of(raised)}")
    error.__cause__ = raised
    return error


def _line_of(raised: BaseException) -> str:
    """Return the file and line at which ``raised`` came up, as far as the traceback tells."""
    trace = _innermost(raised)
    if trace is None:
        return ""
    file = trace.tb_frame.f_code.co_filename.rsplit("/", 1)[-1]
    return f" at {file}:{trace.tb_lineno}"


def _innermost(raised: BaseException) -> TracebackType | None:
    trace = raised.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def needs_event_loop(raised: Exception) -> bool:
    """Return whether ``raised`` is asyncio's complaint that no event loop runs: most of it asks before it awaits."""
    if not isinstance(raised, RuntimeError):
        return False
    trace = _innermost(raised)
    inside = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return inside.partition(".")[0] == "asyncio" or "event loop" in str(raised)


def foreign_await(agent: str, effect: object) -> ConfigurationError:
    """Return what is raised at an await that only an event loop can answer."""
    return ConfigurationError(
        f"agent {agent!r} awaits {type(effect).__name__}, which needs an event loop: declare it with io=True."
        " Without it an agent may await features, models, streamserve.gather and topic.send."
    )
