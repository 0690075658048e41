"""``streamserve doctor``: looks at everything that an app depends on, before or while it runs.

Each check is a function from plain facts to findings; ``kafka.inspection`` gathers those that brokers know.
"""

from __future__ import annotations

from streamserve.ops.doctor.examination import examine
from streamserve.ops.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
