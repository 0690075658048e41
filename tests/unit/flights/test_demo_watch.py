"""Live figures."""

from __future__ import annotations

from topologies.flights.demo.watch import LiveScore


def test_a_prediction_is_judged_when_its_arrival_comes() -> None:
    score = LiveScore()
    score.predicted("a", 0.9)
    assert score.judged == 0
    score.arrived("a", late=True)
    assert score.judged == 1
    assert score.right_share == 1.0


def test_an_arrival_that_the_replay_brings_early_waits_for_its_prediction() -> None:
    score = LiveScore()
    score.arrived("a", late=False)
    score.predicted("a", 0.9)
    assert score.judged == 1
    assert score.right_share == 0.0


def test_figures_are_undefined_before_the_first_arrival() -> None:
    score = LiveScore()
    score.predicted("a", 0.9)
    assert (score.right_share, score.auc, score.log_loss) == (None, None, None)


def test_ranking_needs_both_classes() -> None:
    score = LiveScore()
    for flight_id, late, probability in (("a", True, 0.8), ("b", False, 0.3)):
        score.predicted(flight_id, probability)
        score.arrived(flight_id, late=late)
    assert score.auc == 1.0
