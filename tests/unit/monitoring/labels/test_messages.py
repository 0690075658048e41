from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from streamserve.codecs.schema import json_schema
from streamserve.monitoring.labels.entries import Label, Outcome, Predicted, Status
from streamserve.monitoring.labels.messages import LabelMatch, PerformanceMessage, encode_matches

TIMES = st.integers(-(10**12), 4 * 10**12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
STATUSES: st.SearchStrategy[Status] = st.sampled_from(("matched", "unlabelled", "repeated", "late", "unpredicted"))

MESSAGES: TypeAdapter[PerformanceMessage] = TypeAdapter(PerformanceMessage)


@given(
    st.builds(
        Outcome,
        STATUSES,
        st.binary(max_size=6) | st.text(max_size=4).map(str.encode),
        st.none() | st.builds(Predicted, TIMES, FINITE, st.text(max_size=3), st.text(max_size=3)),
        st.none() | st.builds(Label, TIMES, st.booleans() | FINITE),
    )
)
def test_a_match_is_written_as_its_model_reads_and_writes_it(outcome: Outcome) -> None:
    (written,) = encode_matches([outcome])
    message = MESSAGES.validate_json(written)
    assert isinstance(message, LabelMatch)
    assert MESSAGES.validate_json(message.model_dump_json()) == message
    assert (message.status, message.early, message.delay_ms) == (outcome.status, outcome.is_early, outcome.delay_ms)
    assert message.truth == (None if outcome.label is None else outcome.label.truth)
    assert message.score == (None if outcome.prediction is None else outcome.prediction.score)
    assert list(message.model_dump()) == list(LabelMatch.model_fields)


def test_a_known_match_is_written_word_for_word() -> None:
    outcome = Outcome("matched", b"UA1", Predicted(1_000, 0.25, "delay", "2"), Label(500, truth=True))
    (written,) = encode_matches([outcome])
    assert written == (
        b'{"kind":"match","key":"UA1","status":"matched","early":true,"truth":true,"score":0.25,"delay_ms":-500,'
        b'"model":"delay","version":"2","role":"champion","event_time":"1970-01-01T00:00:01Z",'
        b'"label_time":"1970-01-01T00:00:00.500000Z"}'
    )


def test_messages_have_a_schema_that_tells_their_kinds_apart() -> None:
    schema = json_schema(PerformanceMessage)
    assert set(schema["discriminator"]["mapping"]) == {"match", "metrics"}
