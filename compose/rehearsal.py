"""Does by hand what ``docker build`` does with ``compose/Dockerfile`` where no engine is at hand, and tries the result.

``sudo python compose/rehearsal.py FOLDER BASE``: ``BASE`` is an empty Debian bookworm with Python 3.11 in place of the
stages' base images (``debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates
bookworm BASE``), ``FOLDER`` a new folder for the stages. Each stage is a copy of ``BASE``, each ``RUN`` a shell in it
(``chroot``). At the end ``streamserve check`` loads the app and its model there, as the image's user, on a
read-only root.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt")
"""What an engine takes from its machine too: how to reach the network."""
_MOUNTS = ("--rbind {0} {0}", "-t proc proc {0}/proc", "-t tmpfs tmp {0}/tmp", "--rbind /dev {0}/dev")


@dataclass(slots=True)
class Stage:
    """What a stage has come to."""

    root: Path
    folder: str = "/"
    user: str = "0:0"
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    entrypoint: list[str] = field(default_factory=list[str])

    def inside(self, path: str) -> Path:
        """Return where a path of the image is on this machine."""
        return self.root / str(Path("/", self.folder, path)).lstrip("/")


def main() -> int:
    """Build, try, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("--env", nargs="*", default=[], metavar="NAME=VALUE", help="for the steps, such as a proxy")
    given = parser.parse_args()
    network: dict[str, str] = dict(pair.split("=", 1) for pair in given.env)
    last = build((ROOT / "compose" / "Dockerfile").read_text("utf-8"), given.folder, given.base, network)
    sys.stdout.write(f"{last.root}: {_megabytes(last.root) - _megabytes(given.base)} MB beyond the base\n")
    return run(last, [*last.entrypoint, "check", "topologies.flights.app:app"])


def instructions(text: str) -> Iterator[tuple[str, str]]:
    r"""Yield the instructions of a Dockerfile and what they are told.

    >>> list(instructions("# why\nRUN a \\\n && b\nUSER 1\n"))
    [('RUN', 'a  && b'), ('USER', '1')]
    """
    joined = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    for line in filter(str.strip, joined.splitlines()):
        name, told = line.split(maxsplit=1)
        yield name, told


def build(text: str, folder: Path, base: Path, network: Mapping[str, str]) -> Stage:
    """Follow the instructions; return the last stage."""
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for name, told in instructions(text):
        sys.stdout.write(f"{name} {told[:100]}\n")
        sys.stdout.flush()
        if name == "FROM":
            called = told.partition(" AS ")[2] or "image"
            stage = stages[called] = Stage(folder / called)
            stage.env |= network
            _begin(stage, base)
        else:
            _follow(stage, name, told, stages)
    return stage


def run(stage: Stage, command: list[str], *, writable: bool = False) -> int:
    """Run a command of a stage in a mount namespace of its own; return its exit status."""
    root, environment = shlex.quote(str(stage.root)), [f"{name}={value}" for name, value in stage.env.items()]
    mounts = [*_MOUNTS, *([] if writable else ["-o remount,ro,bind {0} {0}"])]
    script = " && ".join(f"mount {mount.format(root)}" for mount in mounts)
    entered = ["chroot", f"--userspec={stage.user}", str(stage.root), "env", "-i", *environment]
    inner = ["sh", "-c", f'cd {shlex.quote(stage.folder)} && exec "$@"', "sh", *command]
    shell = f"{script} && exec {shlex.join([*entered, *inner])}"
    return subprocess.run(["unshare", "--mount", "sh", "-c", shell], check=False).returncode  # noqa: S603, S607 - our own


def _follow(stage: Stage, name: str, told: str, stages: Mapping[str, Stage]) -> None:
    match name:
        case "RUN":
            if run(stage, ["sh", "-c", told], writable=True):
                raise SystemExit(f"this step fails: RUN {told}")
        case "COPY":
            _copy_in(stage, told, stages)
        case "ENV":
            stage.env |= dict(part.split("=", 1) for part in shlex.split(told))
        case "WORKDIR":
            stage.folder = told
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        case "USER":
            stage.user = told
        case "ENTRYPOINT":
            stage.entrypoint = json.loads(told)
        case _:  # EXPOSE, HEALTHCHECK and CMD are for the engine
            pass


def _copy_in(stage: Stage, told: str, stages: Mapping[str, Stage]) -> None:
    *sources, target = told.split()
    origin = ROOT
    if sources[0].startswith("--from="):
        origin = stages[sources.pop(0).removeprefix("--from=")].root
    elif ignored := [source for source in sources if not _sent(source)]:
        raise SystemExit(f".dockerignore keeps {', '.join(ignored)} from the build")
    for source in sources:
        found = origin / source.lstrip("/")
        place = stage.inside(target) / ("" if found.is_dir() else found.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        _copy(found, place)


def _sent(source: str) -> bool:
    """Return whether the ignore file lets a path through: the last line that matches decides."""
    sent = True
    for line in (ROOT / "compose" / "Dockerfile.dockerignore").read_text("utf-8").splitlines():
        if fnmatch(source, line.removeprefix("!")):
            sent = line.startswith("!")
    return sent


def _begin(stage: Stage, base: Path) -> None:
    """Copy the base as ``cp -a`` does: a device stays a device."""
    stage.root.mkdir(parents=True)
    subprocess.run(["cp", "-a", "--one-file-system", f"{base}/.", str(stage.root)], check=True)  # noqa: S603, S607 - our own
    for path in _KEPT:
        shutil.copyfile(path, stage.root / path.lstrip("/"))


def _copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        shutil.copy(source, target)
        return
    ignore = shutil.ignore_patterns("__pycache__") if source.is_relative_to(ROOT) else None
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=ignore)


def _megabytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) // 1_000_000


if __name__ == "__main__":
    sys.exit(main())
