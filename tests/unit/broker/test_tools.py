"""How Kafka's tools are started, on a Java that tells what it is given."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamserve.broker.tools import run_tool
from streamserve.errors import BrokerUnavailable

JAVA = """\
#!{python}
import pathlib, sys, time
if "-version" in sys.argv:
    print('openjdk version "21"', file=sys.stderr)
    raise SystemExit
config = pathlib.Path(sys.argv[sys.argv.index("--command-config") + 1])
if "hang" in sys.argv:
    time.sleep(60)
print(config, oct(config.parent.stat().st_mode)[-3:], config.read_text())
print(" ".join(sys.argv[1:]), file=sys.stderr)
raise SystemExit(3)
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Java and a Kafka that do nothing."""
    java, jar = tmp_path / "java" / "bin" / "java", tmp_path / "kafka" / "libs" / "kafka_2.13-4.3.1.jar"
    for file in (java, jar):
        file.parent.mkdir(parents=True)
        file.touch()
    java.write_text(JAVA.format(python=sys.executable))
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path / "kafka"))


def test_a_tool_is_told_secrets_in_a_file_of_this_users_that_is_gone_afterwards() -> None:
    ended = run_tool("org.example.Tool", ["list", "--x"], properties="password=canary\n")
    file, mode, properties = ended.output.split()
    assert (ended.code, mode, properties) == (3, "700", "password=canary")
    assert not Path(file).exists()
    assert "canary" not in ended.complaint
    assert ended.complaint.split()[-5:] == ["org.example.Tool", "--command-config", file, "list", "--x"]


def test_a_tool_that_does_not_answer_is_ended() -> None:
    with pytest.raises(BrokerUnavailable, match="Tool had no answer in 1 s"):
        run_tool("org.example.Tool", ["hang"], timeout_s=1)
