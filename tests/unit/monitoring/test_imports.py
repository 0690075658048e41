from __future__ import annotations

import subprocess
import sys


def test_the_monitor_is_imported_without_rivers_detectors() -> None:
    """``river.drift`` takes seconds to import, so only an app that passes a detector pays for it."""
    program = (
        "import sys, streamserve.monitoring.monitor; sys.exit('river.drift' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
