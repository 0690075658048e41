"""How large a deployment has to be, computed from what was measured: pure functions, without Kafka.

``Deployment`` says what is wanted, ``size`` what it takes with so many workers, ``workers_needed`` how many those are.
"""

from streamserve.ops.sizing.deployment import Deployment
from streamserve.ops.sizing.sizing import Sizing, size, workers_needed

__all__ = ["Deployment", "Sizing", "size", "workers_needed"]
