"""What the documentation says, as data; and the README's app, laid out in a folder as a reader would."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streamserve.features.environment import environment_kept

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    *("topologies/guide.md", "topologies/guarantees.md", "compose/operations.md"),
    *("tests/README.md", "topologies/flights/README.md"),
)

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PROGRAM = re.compile(r"(\.venv/bin/)?streamserve")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block under its nearest heading."""

    heading: str
    language: str
    text: str


def read(document: str) -> str:
    """Return the text of one of ``DOCUMENTS``."""
    return (ROOT / document).read_text(encoding="utf-8")


def headings(text: str) -> list[str]:
    """Return the headings outside of fenced blocks."""
    return re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)


def blocks(text: str, language: str) -> list[Block]:
    """Return the fenced blocks of one language.

    >>> blocks("## Use\\n```python\\nx = 1\\n```\\n", "python")
    [Block(heading='Use', language='python', text='x = 1\\n')]
    """
    return [
        Block((headings(text[: found.start()]) or [""])[-1], found[1], found[2])
        for found in _FENCED.finditer(text)
        if found[1] == language
    ]


def spans(text: str) -> list[str]:
    """Return the code spans of the prose."""
    return _SPAN.findall(_FENCED.sub("", text))


def links(text: str) -> list[str]:
    """Return the targets of links and pictures."""
    return _LINK.findall(_FENCED.sub("", text))


def commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each ``streamserve ...`` in shell blocks and code spans.

    >>> list(commands("```bash\\ntrue && streamserve lag a:b   # idle\\n```\\nor `streamserve demo --json`"))
    [['lag', 'a:b'], ['demo', '--json']]
    """
    lines = "\n".join(block.text for block in blocks(text, "bash")).splitlines()
    for line in [*lines, *spans(text)]:
        for part in line.split(" && "):
            if _PROGRAM.match(part):
                program, *arguments = shlex.split(part, comments=True)
                if arguments and _PROGRAM.fullmatch(program):
                    yield arguments


def anchor(heading: str) -> str:
    """Return what leads to a heading within its document.

    >>> anchor("Two streams, and more")
    '#two-streams-and-more'
    """
    return "#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def under(heading: str, language: str) -> list[str]:
    """Return the documents' blocks of a language under a heading."""
    found = [block for document in DOCUMENTS for block in blocks(read(document), language)]
    return [block.text for block in found if block.heading == heading]


def only(heading: str, language: str) -> str:
    """Return the documents' one block of a language under a heading."""
    [found] = under(heading, language)
    return found


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a reader types, and what it says: the comment lines below it, ``...`` for what varies."""

    line: str
    said: str

    def matches(self, output: str) -> bool:
        """Return whether ``output`` is what the README says.

        >>> Command("send", "rides[...]@0 key ann").matches("rides[3]@0 key ann")
        True
        """
        told = re.split(r"\s*\.\.\.\s*", self.said)
        return re.search(".*".join(map(re.escape, told)), output, re.DOTALL) is not None


def story(heading: str) -> list[Command]:
    """Return the commands under a heading, in order."""
    told: list[Command] = []
    for line in "".join(under(heading, "bash")).splitlines():
        if line.startswith("# "):
            told[-1] = Command(told[-1].line, told[-1].said + line.removeprefix("# "))
        else:
            told.append(Command(line, ""))
    return told


def lay_out(folder: Path, app: Literal["score", "agent"] = "score") -> None:
    """Write ``payments.py`` and its feature repository's files; as an agent, this stands where ``app.score`` did."""
    declared = only("The API by example", "python")
    if app == "agent":
        kept = [line for line in declared.splitlines() if not line.startswith("app.score(")]
        declared = "\n".join([*kept, only("Agents", "python")])
    (folder / "payments.py").write_text(declared)
    repo = folder / "feature_repo"
    repo.mkdir(exist_ok=True)
    (repo / "feature_store.yaml").write_text(only("The feature view", "yaml"))
    (repo / "prepare.py").write_text(only("The feature view", "python"))
    (folder / "train.py").write_text(only("The model", "python"))


def run_scripts(folder: Path, names: Sequence[str] = ("feature_repo/prepare.py", "train.py")) -> None:
    """Run scripts of the folder, which is the working directory."""
    with environment_kept():
        for name in names:
            runpy.run_path(str(folder / name), run_name="__main__")
