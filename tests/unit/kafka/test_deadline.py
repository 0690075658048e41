"""Calls that must come to an end, whatever the client thinks."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamserve.kafka.deadline import Deadline
from streamserve.kafka.errors import kafka_error


def test_the_caller_goes_on_while_the_call_is_under_way() -> None:
    goes_on = threading.Event()
    answer = Deadline(5.0).start(goes_on.wait, 5.0)
    goes_on.set()
    assert answer() is True


def test_what_the_call_raises_is_raised_where_it_is_waited_for() -> None:
    answer = Deadline(5.0).start(int, "many")
    with pytest.raises(ValueError, match="many"):
        answer()


def test_calls_one_after_the_other_share_a_thread() -> None:
    deadline = Deadline(5.0)
    names = {deadline(threading.current_thread) for _ in range(3)}
    assert len(names) == 1
    assert names != {threading.current_thread()}
    deadline.close()


def test_a_call_that_does_not_come_back_is_left_behind() -> None:
    deadline, never = Deadline(0.05), threading.Event()
    with pytest.raises(KafkaException) as raised:
        deadline(never.wait)
    assert kafka_error(raised.value).code() == KafkaError._TIMED_OUT
    assert deadline(max, 1, 2) == 2, "the next call has a thread of its own"
    deadline.close()
    never.set()


def test_a_thread_that_was_left_behind_ends_with_its_call() -> None:
    deadline, goes_on, threads = Deadline(0.05), threading.Event(), list[threading.Thread]()

    def stand_still() -> None:
        threads.append(threading.current_thread())
        goes_on.wait(5.0)

    with pytest.raises(KafkaException):
        deadline(stand_still)
    goes_on.set()
    threads[0].join(5.0)
    assert not threads[0].is_alive()


def test_who_waits_may_have_less_patience() -> None:
    deadline, never = Deadline(60.0), threading.Event()
    answer = deadline.start(never.wait)
    with pytest.raises(KafkaException, match=r"within 0\.05 s"):
        answer(0.05)
    assert deadline(max, 1, 2) == 2, "the next call has a thread of its own"
    deadline.close()
    never.set()
