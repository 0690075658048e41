"""What an app hands out for what is declared: features and models to ask, agents, monitors and labels as data."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Generic

from typing_extensions import TypeVar

from streamserve.agents.sources import Source
from streamserve.dataflow.driving.effects import ask
from streamserve.dataflow.planning.nodes import AgentNode, FeaturesNode, LabelsNode, ModelNode, MonitorNode, PushNode
from streamserve.errors import ConfigurationError
from streamserve.features.base import FeatureRow
from streamserve.records import Prediction, Scalar

L = TypeVar("L")
In = TypeVar("In")
Out = TypeVar("Out")
E_contra = TypeVar("E_contra", contravariant=True)
R = TypeVar("R", default=FeatureRow)
P = TypeVar("P")


class Agent(Generic[In, Out]):
    """An agent of an app, as data; calling it does nothing, the app runs it."""

    def __init__(self, node: AgentNode) -> None:
        self.name = node.name
        self.node = node

    def __repr__(self) -> str:
        return f"Agent({self.name!r})"


class Features(Generic[E_contra, R]):
    """A Feast feature service, asked with an event's fields; made by ``App.features``."""

    def __init__(self, node: FeaturesNode) -> None:
        self.node = node

    def get(self, event: E_contra, /) -> Awaitable[R]:
        """Return the features of ``event``; look-ups of many events are answered as one read.

        A missing value is ``None`` and the row's ``status`` says why. Ages count against the event's own time.

        Raises (at the await):
            FeatureRowError: the event cannot be asked for; unless caught, it becomes a dead letter.
        """
        return ask(self.node.binding.runtime, event)

    def get_many(self, events: Sequence[E_contra], /) -> Sequence[R]:
        """Return the features of each event at once, for batch agents.

        Raises:
            FeatureRowError: one of the events cannot be asked for; the engine halves the batch to find it.
        """
        return _running(self.node.binding.runtime, f"features {self.node.service!r}").many(events)

    async def push(self, source: str, value: object) -> None:
        """Push one row to push source ``source``: later look-ups see it, the online store before the commit."""
        join = _running(self.node.binding.runtime, f"features {self.node.service!r}")
        await ask(join.begin_push(), (source, value))

    def push_from(self, source: Source[Any, Any], *, push_source: str) -> None:
        """Push every event of ``source`` where it falls in event time among the events that ask."""
        self.node.pushes.append(PushNode(source.name, push_source))


class Model(Generic[P]):
    """A model by alias or version; made by ``App.model``."""

    def __init__(self, node: ModelNode) -> None:
        self.node = node

    def predict(self, *rows: object, **values: Scalar) -> Awaitable[Prediction[P]]:
        """Score one row; predictions of many events run as one batch.

        Each input of the model is taken from the one of ``rows`` (events, feature rows, mappings) that has its name, or
        from ``values``.

        Raises (at the await):
            ModelRowError: the model refuses the row; unless caught, it becomes a dead letter.
        """
        return ask(self.node.binding.runtime, (rows, values))

    def predict_many(self, *rows: Sequence[object], **values: Sequence[Scalar]) -> Sequence[Prediction[P]]:
        """Score many rows at once, for batch agents; each argument is one sequence of what ``predict`` takes.

        Raises:
            ModelRowError: the model refuses one of the rows; the engine halves the batch to find it.
        """
        return _running(self.node.binding.runtime, f"model {self.node.name!r}").many(rows, values)


class Monitor:
    """Statistics and drift detection of a model, as data; made by ``App.monitor``."""

    def __init__(self, node: MonitorNode) -> None:
        self.node = node


class Labels(Generic[P, L]):
    """Predictions and what came true, as data; made by ``App.labels``."""

    def __init__(self, node: LabelsNode) -> None:
        self.name = node.name
        self.node = node

    def __repr__(self) -> str:
        return f"Labels({self.name!r})"


def _running(runtime: Any, what: str) -> Any:
    if runtime is None:
        raise ConfigurationError(f"{what} answers only inside a running app")
    return runtime
