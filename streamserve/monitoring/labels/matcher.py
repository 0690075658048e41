"""The label join: predictions wait for their label, by key and event time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

from streamserve.monitoring.labels.entries import (
    KeyState,
    Label,
    Outcome,
    Predicted,
    Waiting,
    decode_state,
    encode_state,
)

__all__ = ["MAX_EARLY", "LabelMatcher"]

MAX_EARLY = 16
"""How many labels of one key wait for their prediction; it bounds what a key of labels alone can cost."""


class LabelMatcher:
    """Matches the predictions and labels of one partition group; state of its changelog.

    A label and a prediction of one key match when their event times are at most ``within_ms`` apart. Hand batches over
    in the order of event time; every call returns the outcomes that are settled by it. All else is settled by
    ``advance``. The rules:

    - A key has one *served* prediction at a time (champion, canary or fallback; the first stands) and one of each
      shadow version. A second one within the bound of the first is ``repeated``; one further off is another prediction,
      and may be labelled too.
    - A label goes to every prediction of its key that waits for one: to the served one, and to the shadows'.
    - When none waits, a label is ``repeated`` if the prediction it belongs to has its label already, ``late`` if that
      was given up or the bound is exceeded. Otherwise it is early: it waits for its prediction, and is ``unpredicted``
      when the bound has passed. The prediction takes the first that fits, which is ``matched`` with a negative delay;
      the others that fit are ``repeated``. So are those beyond ``MAX_EARLY`` that wait under one key.

    Every prediction ends in exactly one of ``matched``, ``unlabelled`` and ``repeated``. Every label ends in one or
    more ``matched`` (one for each prediction that waited), or in one of ``repeated``, ``late`` and ``unpredicted``.

    A prediction is forgotten ``2 * within_ms`` after its time, in event time: this bounds memory, and a label that is
    later still can be told from one without prediction no more, so that it ends as ``unpredicted``.
    Not thread-safe.

    >>> matcher = LabelMatcher(within_ms=1000)
    >>> matcher.predict([b"UA1", b"UA2"], [Predicted(0, 0.9, "delay", "1"), Predicted(5, 0.2, "delay", "1")])
    []
    >>> [(found.status, found.delay_ms) for found in matcher.label([b"UA1"], [Label(700, truth=True)])]
    [('matched', 700)]
    >>> [(found.status, found.key) for found in matcher.advance(1006)]
    [('unlabelled', b'UA2')]

    Raises:
        ValueError: the bound is negative.
    """

    def __init__(self, within_ms: int) -> None:
        if within_ms < 0:
            raise ValueError(f"labels cannot be awaited for {within_ms} ms: give a bound of 0 or more")
        self.within_ms = within_ms
        self._states: dict[bytes, KeyState] = {}
        self._dirty: dict[bytes, None] = {}
        self._due: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._states)

    @property
    def next_due_ms(self) -> int | None:
        """Return the time before which ``advance`` has nothing to do."""
        return self._due[0][0] if self._due else None

    def predict(self, keys: Sequence[bytes], predictions: Sequence[Predicted]) -> list[Outcome]:
        """Take in predictions with their record keys, both in order, and return the outcomes that they settle."""
        states, dirty, due, within = self._states, self._dirty, self._due, self.within_ms
        outcomes: list[Outcome] = []
        for key, prediction in zip(keys, predictions, strict=True):
            state = states.get(key)
            if state is None:
                states[key] = KeyState([Waiting(prediction)], [])
                heappush(due, (prediction.time_ms + within, key))
                dirty[key] = None
            else:
                outcomes += self._predict_known(key, state, prediction)
        return outcomes

    def _predict_known(self, key: bytes, state: KeyState, prediction: Predicted) -> list[Outcome]:
        slot = _slot(prediction)
        own = [one for one in state.predictions if _slot(one.prediction) == slot]
        if any(self._fits(one.prediction, prediction.time_ms) for one in own):
            return [Outcome("repeated", key, prediction, None)]
        label = self._label_for(state, prediction, own)
        state.predictions.append(Waiting(prediction, label))
        self._touch(key, prediction.time_ms + self.within_ms)
        if label is None:
            return []
        fitting = [other for other in state.labels if self._fits(prediction, other.time_ms)]
        state.labels = [other for other in state.labels if not self._fits(prediction, other.time_ms)]
        repeated = [Outcome("repeated", key, prediction, other) for other in fitting if other is not label]
        return [Outcome("matched", key, prediction, label), *repeated]

    def _label_for(self, state: KeyState, prediction: Predicted, own: Sequence[Waiting]) -> Label | None:
        """Return the first label that came before the prediction did, early or already another slot's."""
        used = [one.label for one in own]
        taken = (one.label for one in state.predictions if one.label is not None and one.label not in used)
        fitting = [label for label in (*state.labels, *taken) if self._fits(prediction, label.time_ms)]
        return min(fitting, key=_time, default=None)

    def label(self, keys: Sequence[bytes], labels: Sequence[Label]) -> list[Outcome]:
        """Take in labels with their record keys, both in order, and return the outcomes that they settle."""
        outcomes: list[Outcome] = []
        for key, label in zip(keys, labels, strict=True):
            state = self._states.get(key)
            if state is None:
                self._states[key] = KeyState([], [label])
                self._touch(key, label.time_ms + self.within_ms)
            else:
                outcomes += self._label_known(key, state, label)
        return outcomes

    def _label_known(self, key: bytes, state: KeyState, label: Label) -> list[Outcome]:
        fitting = [one for one in state.predictions if self._fits(one.prediction, label.time_ms)]
        chosen = _first_of_each_slot(one for one in fitting if one.waits)
        if chosen:
            for one in chosen:
                one.label = label
            self._dirty[key] = None
            return [Outcome("matched", key, one.prediction, label) for one in chosen]
        before = fitting or [one for one in state.predictions if self._precedes(one.prediction, label.time_ms)]
        if before:
            one = max(before, key=_preference)
            return [Outcome("late" if one.label is None else "repeated", key, one.prediction, label)]
        if len(state.labels) >= MAX_EARLY:
            return [Outcome("repeated", key, None, label)]
        state.labels.append(label)
        self._touch(key, label.time_ms + self.within_ms)
        return []

    def _fits(self, prediction: Predicted, time_ms: int) -> bool:
        return abs(time_ms - prediction.time_ms) <= self.within_ms

    def _precedes(self, prediction: Predicted, time_ms: int) -> bool:
        """Return whether a label of ``time_ms`` came too late for ``prediction``, but before that is forgotten.

        What has not been dropped yet is told by times alone, or a label's fate would depend on how batches are cut.
        """
        return prediction.time_ms < time_ms <= prediction.time_ms + 2 * self.within_ms

    def _touch(self, key: bytes, due_ms: int) -> None:
        heappush(self._due, (due_ms, key))
        self._dirty[key] = None

    def advance(self, watermark_ms: int) -> list[Outcome]:
        """Give up what can match no more: records at or after ``watermark_ms`` are all that is still to come.

        Returns what expired, in the order of event time, then of keys.
        """
        outcomes: list[Outcome] = []
        while self._due and self._due[0][0] < watermark_ms:
            key = heappop(self._due)[1]
            state = self._states.get(key)
            if state is None:
                continue
            if len(state.predictions) == 1 and not state.labels:
                self._expire_only(key, state.predictions[0], watermark_ms, outcomes)
            else:
                outcomes += self._expire(key, state, watermark_ms)
        outcomes.sort(key=_place)
        return outcomes

    def _expire_only(self, key: bytes, one: Waiting, watermark_ms: int, outcomes: list[Outcome]) -> None:
        """Do what ``_expire`` does for a key's only prediction: the usual case, at a third of the cost."""
        due_ms = one.prediction.time_ms + self.within_ms
        if one.label is None and not one.given_up and due_ms < watermark_ms:
            one.given_up = True
            outcomes.append(Outcome("unlabelled", key, one.prediction, None))
            self._dirty[key] = None
        if due_ms + self.within_ms < watermark_ms:
            del self._states[key]
            self._dirty[key] = None
        else:
            heappush(self._due, (due_ms if one.waits else due_ms + self.within_ms, key))

    def _expire(self, key: bytes, state: KeyState, watermark_ms: int) -> list[Outcome]:
        limit = watermark_ms - self.within_ms
        forgotten = limit - self.within_ms
        outcomes = [Outcome("unpredicted", key, None, label) for label in state.labels if label.time_ms < limit]
        for one in state.predictions:
            if one.waits and one.prediction.time_ms < limit:
                one.given_up = True
                outcomes.append(Outcome("unlabelled", key, one.prediction, None))
        kept = [one for one in state.predictions if one.prediction.time_ms >= forgotten]
        if outcomes or len(kept) < len(state.predictions):
            self._dirty[key] = None
        state.labels = [label for label in state.labels if label.time_ms >= limit]
        state.predictions = kept
        if kept or state.labels:
            heappush(self._due, (self._next_due(state), key))
        else:
            del self._states[key]
        return outcomes

    def _next_due(self, state: KeyState) -> int:
        times = [label.time_ms + self.within_ms for label in state.labels]
        times += [one.prediction.time_ms + self.within_ms * (1 if one.waits else 2) for one in state.predictions]
        return min(times)

    def take_changes(self) -> tuple[list[bytes], list[bytes | None]]:
        """Return the changelog records of all keys that changed since the last call; afterwards the state is clean."""
        keys, states = list(self._dirty), self._states
        self._dirty = {}
        return keys, [encode_state(states[key]) if key in states else None for key in keys]

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take changelog records back in the order of the log.

        Raises:
            ConfigurationError: a record has an unknown format version, or is damaged.
        """
        for key, value in zip(keys, values, strict=True):
            if value is None:
                self._states.pop(key, None)
            else:
                self._states[key] = decode_state(value)

    def loaded(self) -> None:
        """Tell that the changelog's end is reached."""
        self._due = [(self._next_due(state), key) for key, state in self._states.items()]
        heapify(self._due)


def _slot(prediction: Predicted) -> tuple[str, str]:
    """Return whose answer a prediction is: the model's as served, or one shadow version's."""
    return prediction.model, prediction.version if prediction.role == "shadow" else ""


def _first_of_each_slot(waiting: Iterable[Waiting]) -> list[Waiting]:
    chosen: dict[tuple[str, str], Waiting] = {}
    for one in sorted(waiting, key=lambda one: one.prediction.time_ms):
        chosen.setdefault(_slot(one.prediction), one)
    return list(chosen.values())


def _time(label: Label) -> int:
    return label.time_ms


def _preference(one: Waiting) -> tuple[int, bool]:
    """Order predictions by time, the served one after shadows."""
    return one.prediction.time_ms, one.prediction.role != "shadow"


def _place(outcome: Outcome) -> tuple[int, bytes, str, tuple[str, str]]:
    prediction, label = outcome.prediction, outcome.label
    if prediction is not None:
        return prediction.time_ms, outcome.key, outcome.status, _slot(prediction)
    return label.time_ms if label is not None else 0, outcome.key, outcome.status, ("", "")
