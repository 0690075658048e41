from __future__ import annotations

import msgspec
import numpy as np

from streamserve.inference.onnx import load_runner
from streamserve.inference.registry import Registry
from tests.benchmarks.workload import MODEL, MODELS, USERS, Transaction, event, feature_matrix


def test_events_are_about_125_bytes() -> None:
    assert 120 < np.mean([len(event(number)) for number in range(USERS)]) < 130


def test_an_event_s_user_has_a_row_of_features() -> None:
    users = {msgspec.json.decode(event(number), type=Transaction).user for number in range(0, 3 * USERS, 7)}
    assert max(users) < len(feature_matrix()) == USERS


def test_the_model_in_the_checkout_gives_its_golden_answers() -> None:
    registry = Registry(MODELS)
    runner = load_runner(registry.load(MODEL, registry.resolve(MODEL)))
    assert runner.version == "1"
