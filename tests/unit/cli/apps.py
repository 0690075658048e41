"""Small apps in modules of their own, as the command line finds them."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

SHOP = """
from collections.abc import AsyncIterator

from pydantic import BaseModel

from streamserve import App, Stream


class Click(BaseModel):
    user: str
    page: str


class Visit(BaseModel):
    user: str


app = App("shop")
clicks = app.topic("clicks", Click, key="user")
visits = app.topic("visits", Visit, key="user")


@app.agent(clicks, to=visits)
async def note(stream: Stream[Click]) -> AsyncIterator[Visit]:
    async for click in stream:
        yield Visit(user=click.user)
"""


@contextmanager
def module(folder: Path, name: str, text: str) -> Generator[str]:
    """Write a module that can be imported inside the block."""
    (folder / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    try:
        yield name
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)
