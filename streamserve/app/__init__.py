"""The app: names and registers what a topology is made of. It does no I/O; the plan is plain data."""

from __future__ import annotations

from typing_extensions import Unpack

from streamserve.app.agents import DeclaresAgents
from streamserve.app.commands import DeclaresCommands
from streamserve.app.declared import checked
from streamserve.app.labels import DeclaresLabels
from streamserve.app.models import DeclaresModels
from streamserve.app.state import DeclaresState
from streamserve.app.timers import DeclaresTimers
from streamserve.app.topics import DeclaresTopics
from streamserve.dataflow.planning.declared import Declared
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.planning.planner import make_plan
from streamserve.settings import SettingsOverrides

__all__ = ["App"]


class App(
    DeclaresTopics, DeclaresAgents, DeclaresTimers, DeclaresModels, DeclaresState, DeclaresLabels, DeclaresCommands
):
    """A topology: topics, agents, features, models, monitors, state and labels under one name.

    The name is the consumer group's, the prefix of the engine's own topics and of transactional ids: renaming an app
    starts it afresh. Settings given here yield to ``STREAMSERVE_*`` environment variables and those to the command
    line.

    >>> app = App("example")
    >>> clicks = app.topic("clicks", dict, key=lambda click: str(click["user"]))
    >>> [topic for topic in app.plan().topics]
    ['clicks']
    """

    def __init__(self, name: str, **settings: Unpack[SettingsOverrides]) -> None:
        super().__init__(Declared(checked(name, "app")))
        self.name = name
        self.settings = settings

    def plan(self) -> Plan:
        """Return everything declared so far, as plain data.

        Raises:
            PlanError: the declarations do not fit together.
        """
        return make_plan(self._declared)
