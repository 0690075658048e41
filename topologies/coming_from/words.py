"""Counts words and scores posts: the Faust app of the page beside it, ported."""

from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import BaseModel

from streamserve import App, Binary, Stream


class Post(BaseModel):
    user: str
    text: str


class Word(BaseModel):
    word: str


class Score(BaseModel):
    user: str
    probability: float


app = App("words", model_registry=Path(__file__).parent / "models")
posts = app.topic("posts", Post, key="user")
words = app.topic("words", Word, key="word")
scores = app.topic("scores", Score, key="user")
counts = app.table("counts", int, default=int)
clickbait = app.model("clickbait", output=Binary)


@app.agent(posts)
async def split(stream: Stream[Post]) -> None:
    async for post in stream:
        for word in post.text.lower().split():
            await words.send(Word(word=word))


@app.agent(words)
async def count(stream: Stream[Word]) -> None:
    async for word in stream:
        counts.update(word.word, lambda number: number + 1)


@app.agent(posts, to=scores)
async def score(stream: Stream[Post]) -> AsyncIterator[Score]:
    async for post in stream:
        y = await clickbait.predict(words=len(post.text.split()), marks=post.text.count("!"))
        yield Score(user=post.user, probability=y.output.probability)
