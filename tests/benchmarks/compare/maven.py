"""Builds the Java program with Maven, into the user's cache folder, and checks every jar that it runs with."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from streamserve.broker.java import find_java
from streamserve.errors import LocalBrokerError
from streamserve.folders import cache_home
from tests.benchmarks.compare.environments import Unavailable

_DEADLINE_S = 900


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled program: the Java to run it with, and its class path."""

    java: Path
    class_path: str


def build(project: Path) -> Built:
    """Compile ``project`` and fetch its jars, unless that was done before for the same sources.

    Raises:
        Unavailable: there is no Maven, no Java or no compiler, or the build failed, or a jar is another than expected.
    """
    java, maven = _java(), shutil.which("mvn")
    folder = cache_home() / "compare" / f"kafka-streams-{_mark(project)}"
    if not (folder / "lib").is_dir():
        if maven is None:
            raise Unavailable("needs Maven (mvn) and a Java development kit, version 17 or newer, on PATH")
        _compile(maven, project, folder)
    _check(folder / "lib", project / "jars.sha256")
    return Built(java, f"{folder / 'classes'}{os.pathsep}{folder / 'lib' / '*'}")


def pom_version(pom: Path, artifact: str) -> str:
    """Return the version of a dependency in a pom whose versions are all pinned.

    Raises:
        ValueError: it is not there.
    """
    found = re.search(rf"<artifactId>{re.escape(artifact)}</artifactId><version>([^<]+)<", pom.read_text("utf-8"))
    if found is None:
        raise ValueError(f"{pom.name} has no dependency {artifact}")
    return found[1]


def wrong_jars(folder: Path, expected: Path) -> list[str]:
    """Return the names of jars that are missing, not expected, or of another checksum than ``expected`` says."""
    lines = (line.split() for line in expected.read_text("utf-8").splitlines())
    wanted = {name: checksum for checksum, name in lines}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def _check(folder: Path, expected: Path) -> None:
    wrong = wrong_jars(folder, expected)
    if wrong:
        shutil.rmtree(folder)
        raise Unavailable(f"Maven brought other jars than {expected.name} has: {', '.join(wrong)}")


def _compile(maven: str, project: Path, folder: Path) -> None:
    unfinished = folder.with_name(f"{folder.name}-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [maven, "-q", "-B", "--strict-checksums", "-f", str(project / "pom.xml"), f"-Dcompare.build={unfinished}"]
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={unfinished / 'lib'}"]
    ended = subprocess.run(
        [*command, "compile", *copy], capture_output=True, text=True, check=False, timeout=_DEADLINE_S
    )
    if ended.returncode:
        raise Unavailable(f"Maven failed: {(ended.stdout + ended.stderr).strip()[:800]}")
    unfinished.rename(folder)


def _mark(project: Path) -> str:
    """Return a name for what is built: another after any change of the sources."""
    files = [project / "pom.xml", project / "jars.sha256", *sorted(project.glob("src/**/*.java"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _java() -> Path:
    try:
        return find_java().path
    except LocalBrokerError as error:
        raise Unavailable(str(error)) from error
