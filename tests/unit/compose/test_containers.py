from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.rehearsal import instructions

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "compose"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
DOCKERFILE = list(instructions((COMPOSE / "Dockerfile").read_text()))
EXACT = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*")
LOCKS = sorted((COMPOSE / "requirements").glob("*.txt"))
NOT_OURS = {"setuptools", "tomlkit"}
"""What only the image needs, to build a source distribution that a checkout builds in isolation."""


def pins(lock: Path) -> dict[str, set[str]]:
    """The hashes of each ``name==version`` of a lock."""
    parts = re.split(r"^([\w.-]+==[^\s;]+)", lock.read_text(), flags=re.MULTILINE)[1:]
    return {pin: set(re.findall(r"--hash=(\S+)", rest)) for pin, rest in zip(parts[::2], parts[1::2], strict=True)}


def test_every_image_is_pinned_to_a_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += [told.split()[0] for name, told in DOCKERFILE if name == "FROM"]
    assert [image for image in images if not EXACT.fullmatch(image)] == []


def test_ports_are_bound_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_cannot_gain_rights_nor_write_to_its_image_or_take_the_whole_machine(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only", False) is (name != "kafka"), "its image writes its configuration"
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["logging"] == {"driver": "local"}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"prepare", "replay"}))
def test_what_is_to_stay_comes_back_by_itself_and_says_whether_it_is_well(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert name == "worker" or service["healthcheck"]["test"], "a worker's is in its image"


def test_the_image_runs_without_root_and_says_whether_it_is_well() -> None:
    start = max(index for index, (name, _) in enumerate(DOCKERFILE) if name == "FROM")
    last = dict(DOCKERFILE[start:])
    assert last["USER"] == "10001:10001"
    assert "/healthz" in last["HEALTHCHECK"]
    assert last["ENTRYPOINT"] == '["streamserve"]'


def test_every_package_of_the_image_is_locked_and_the_locks_agree() -> None:
    steps = [told for name, told in DOCKERFILE if name == "RUN" and " -r " in told]
    assert all("--require-hashes" in told for told in steps)
    assert {found for told in steps for found in re.findall(r"-r requirements/(\S+)", told)} == {
        lock.name for lock in LOCKS
    }
    ours = pins(ROOT / "requirements.txt")
    for lock in LOCKS:
        differing = {pin.partition("==")[0] for pin, hashes in pins(lock).items() if hashes != ours.get(pin)}
        assert differing <= NOT_OURS, f"{lock.name}: write it anew, see compose/README.md"


def test_the_image_has_what_the_package_requires() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[^\w-]", each)[0] for each in project["dependencies"]}
    assert wanted <= {pin.partition("==")[0] for pin in pins(COMPOSE / "requirements" / "run.txt")}


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_docker_compose_accepts_the_file() -> None:
    command = ["docker-compose", "-f", "compose.yaml", "config", "--quiet"]
    done = subprocess.run(command, cwd=COMPOSE, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
