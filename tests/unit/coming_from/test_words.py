"""The ported app counts and scores as a count that uses no engine does, whatever happens to its worker."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from streamserve.dataflow.checks import check
from streamserve.inference.package import load_package
from streamserve.settings import Settings
from streamserve.testing import Harness
from streamserve.testing.harness import Fault
from topologies.coming_from.compare import made_up_posts, words_in
from topologies.coming_from.training import publish
from topologies.coming_from.words import Post, app, counts, posts, scores

MODELS = Path(sys.modules[Post.__module__].__file__ or "").parent / "models"
FAULTS: tuple[Fault | None, ...] = (None, "crash", "abort", "fence", "rebalance")


def probability(package: Path, post: Post) -> float:
    """The model's answer, asked without the engine."""
    session = onnxruntime.InferenceSession(
        load_package(package).onnx, onnxruntime.SessionOptions(), providers=["CPUExecutionProvider"]
    )
    row = np.array([[len(post.text.split()), post.text.count("!")]], np.float32)
    return float(session.run(None, {"X": row})[1][0, 1])


def _rounded(pairs: list[tuple[str, float]]) -> list[tuple[str, float]]:
    return [(user, round(found, 5)) for user, found in pairs]


@pytest.mark.parametrize("fault", FAULTS)
def test_words_are_counted_and_posts_scored_once(fault: Fault | None) -> None:
    made_up = made_up_posts(60)
    sent = [Post(**post) for post in made_up]
    with Harness(app, partitions=4) as harness:
        if fault is not None:
            harness.fault(fault)
        harness.send(posts, *sent)
        assert harness.table(counts) == words_in(made_up)
        found = [(record.value.user, record.value.probability) for record in harness.read(scores)]
    expected = [(post.user, probability(MODELS / "clickbait" / "1", post)) for post in sent]
    assert sorted(_rounded(found)) == sorted(_rounded(expected))


def test_check_finds_nothing() -> None:
    assert check(app.plan(), Settings(model_registry=MODELS)) == []


def test_its_script_makes_the_same_model_again(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # skl2onnx's own
        made = publish(tmp_path)
    for text in ("one", "a b c!!!!", "x y z!"):
        post = Post(user="u", text=text)
        assert probability(made, post) == pytest.approx(probability(MODELS / "clickbait" / "1", post), abs=1e-6)  # pyright: ignore[reportUnknownMemberType]
