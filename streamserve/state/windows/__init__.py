"""Windows of event time: what they are, and their state in a partition group."""

from __future__ import annotations

from streamserve.state.windows.base import WindowResult
from streamserve.state.windows.spec import WindowSpec, hopping, session, sliding, tumbling
from streamserve.state.windows.windowed import WindowedState

__all__ = ["WindowResult", "WindowSpec", "WindowedState", "hopping", "session", "sliding", "tumbling"]
