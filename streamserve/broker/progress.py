"""The progress bar of a download."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from streamserve.broker.manifest import Manifest
from streamserve.broker.maven import BytesRead


@contextmanager
def download_bar(manifest: Manifest, size: int) -> Generator[BytesRead]:
    """Show a bar on standard error; where that is no terminal, one line and no more.

    Standard output stays free for ``--json``.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    title = f"Fetching Kafka {manifest.kafka}"
    if not sys.stderr.isatty():
        sys.stderr.write(f"{title}: {size / 1e6:.0f} MB, once\n")
        yield lambda _count: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=size)
        yield lambda count: progress.advance(task, count)
