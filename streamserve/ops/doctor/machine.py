"""This machine: Python, the libraries, and a Java for the local broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from streamserve.broker.java import OLDEST, find_java
from streamserve.errors import LocalBrokerError
from streamserve.ops.doctor.finding import Finding, fault, fine, warning

__all__ = ["java", "libraries", "python"]

_OLDEST, _TOO_NEW = (3, 11), (3, 13)
_LIBRARIES = ("bytewax", "confluent-kafka", "feast", "onnxruntime", "river", "pydantic", "msgspec")


def python(running: tuple[int, int] = sys.version_info[:2]) -> Iterator[Finding]:
    """Say whether this Python is one that streamserve is made for."""
    told = "{}.{}".format(*running)
    if _OLDEST <= running < _TOO_NEW:
        yield fine("python", "Python", told)
    else:
        yield fault("python", "Python", f"is {told}", "use Python 3.11 or 3.12: Bytewax has no wheels for others")


def libraries(names: tuple[str, ...] = _LIBRARIES) -> Iterator[Finding]:
    """Say which versions of the libraries are installed."""
    found = {name: _version(name) for name in names}
    missing = [name for name, installed in found.items() if installed is None]
    if missing:
        remedy = f"pip install {' '.join(missing)}, or install streamserve again"
        yield fault("libraries", "libraries", f"{', '.join(missing)} are not installed", remedy)
    yield fine("libraries", "libraries", ", ".join(f"{name} {told}" for name, told in found.items() if told))


def java() -> Iterator[Finding]:
    """Say whether there is a Java that could run the local broker; workers need none."""
    try:
        found = find_java()
    except LocalBrokerError:
        remedy = "only 'streamserve broker' and the demo need one: pip install 'streamserve[demo]', or set JAVA_HOME"
        yield warning("java", "Java", f"none was found of version {OLDEST} or newer", remedy)
    else:
        yield fine("java", "Java", f"{found.version} ({found.source})")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
