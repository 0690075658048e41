"""What answers when agents ask for features, models, tables and windows, for one incarnation of the engine."""

from __future__ import annotations

from itertools import chain

from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.running.engine import Engine
from streamserve.dataflow.runtime import Runtime
from streamserve.dataflow.steps.features import FeatureJoin
from streamserve.dataflow.steps.models import ModelScorer
from streamserve.dataflow.steps.tables import TableAccess, WindowAccess
from streamserve.features.base import FeatureReader
from streamserve.observer import Observer


class Answers:
    """Feature joins and model scorers by name, which what is declared leads to between ``bind`` and ``close``."""

    def __init__(self, plan: Plan, runtime: Runtime, engine: Engine, observer: Observer) -> None:
        self._plan = plan
        self._runtime = runtime
        self._engine = engine
        self._observer = observer
        self.readers: dict[str, FeatureReader] = {}
        self.joins: dict[str, FeatureJoin] = {}
        self.scorers: dict[str, ModelScorer] = {}

    def bind(self) -> None:
        """Open feature readers and connect what agents ask to what answers.

        Raises:
            ConfigurationError: a feature repository does not open.
        """
        for name, node in self._plan.features.items():
            self.readers[name] = self._runtime.open_readers[name]()
            self.joins[name] = FeatureJoin(node, self.readers[name], self._plan.features_topic, self._observer)
            node.binding.runtime = self.joins[name]
        for name, node in self._plan.models.items():
            observed = self._plan.monitor_of(name) is not None
            self.scorers[name] = ModelScorer(node, self._runtime.models[name].runner, self._observer, observed=observed)
            node.binding.runtime = self.scorers[name]
        for table in self._plan.tables.values():
            table.binding.runtime = TableAccess(table, lambda: self._engine.groups, self._engine.clock)
        for window in self._plan.windows.values():
            window.binding.runtime = WindowAccess(window)

    def flush_pushes(self) -> None:
        """Write what was pushed to the online stores."""
        for name, reader in self.readers.items():
            self._observer.entered("pushes", name)
            try:
                reader.flush_pushes()
            finally:
                self._observer.left()

    def close(self) -> None:
        """Let go of feature readers, and of what agents ask."""
        for reader in self.readers.values():
            reader.close()
        plan = self._plan
        nodes = (plan.features.values(), plan.models.values(), plan.tables.values(), plan.windows.values())
        for node in chain.from_iterable(nodes):
            node.binding.runtime = None
