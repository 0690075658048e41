"""What an agent may use: its stream, topics to write to, features and models to ask."""

from __future__ import annotations

from streamserve.agents.handles import Agent, Features, Labels, Model, Monitor
from streamserve.agents.sources import Source, Topic, names_of
from streamserve.agents.streams import Batch, ScopedStream, Stream

__all__ = [
    "Agent",
    "Batch",
    "Features",
    "Labels",
    "Model",
    "Monitor",
    "ScopedStream",
    "Source",
    "Stream",
    "Topic",
    "names_of",
]
