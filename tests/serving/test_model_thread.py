"""The thread that asks the model: what waits is answered together, ranks come first, and nothing hangs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from fsvae.live_users import LiveEvent
from fsvae.online_question import Answer, Question
from serving.metrics import Metrics
from serving.model_thread import Model, ModelThread

EVENT = LiveEvent(1, "t", 5)


class Recorder:
    """A recommender that notes what it is asked together, and answers when it is let go."""

    def __init__(self) -> None:
        self.went = threading.Event()
        self.began = threading.Event()
        self.done: list[tuple[str, int]] = []
        self.fails = False

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        self.began.set()
        assert self.went.wait(30)
        self.done.append(("answers", len(questions)))
        if self.fails:
            raise RuntimeError("no answer")
        return [Answer([], True, question.k, [], None) for question in questions]

    def ranks(self, events: Sequence[tuple[str, LiveEvent]]) -> list[int]:
        self.done.append(("ranks", len(events)))
        return list(range(len(events)))

    def taken_reads(self) -> tuple[int, int]:
        return 0, 0


def started(most: int = 4) -> tuple[ModelThread, Recorder]:
    recorder = Recorder()
    return ModelThread(Model(recorder, "v1"), most, Metrics()), recorder  # type: ignore[arg-type]


def held(models: ModelThread, recorder: Recorder) -> Any:
    """Ask a first question, which keeps the thread busy until the recorder lets it go."""
    first = models.ask([Question(k=0)])
    assert recorder.began.wait(30)
    return first


def test_what_waits_is_answered_together_each_with_its_own_answers() -> None:
    models, recorder = started()
    first = held(models, recorder)
    asked = [models.ask([Question(k=1)]), models.ask([Question(k=2), Question(k=3)]), models.ask([Question(k=4)])]
    last = models.ask([Question(k=5)])
    recorder.went.set()
    assert [[one.recent_used for one in of.result(30).answers] for of in (first, *asked, last)] == [
        [0],
        [1],
        [2, 3],
        [4],
        [5],
    ]
    assert recorder.done == [("answers", 1), ("answers", 4), ("answers", 1)]
    models.close()


def test_ranks_that_wait_come_before_the_questions_beside_them() -> None:
    models, recorder = started()
    held(models, recorder)
    asked = models.ask([Question(k=1)])
    ranked = [models.rank([("ann", EVENT)]), models.rank([("ben", EVENT), ("cid", EVENT)])]
    recorder.went.set()
    assert [of.result(30).ranks for of in ranked] == [[0], [1, 2]] and len(asked.result(30).answers) == 1
    assert recorder.done == [("answers", 1), ("ranks", 3), ("answers", 1)]
    models.close()


def test_a_call_comes_after_what_waits_and_before_what_comes_later() -> None:
    models, recorder = started()
    held(models, recorder)
    other = Recorder()
    other.went.set()
    before, switched = models.ask([Question(k=1)]), models.switch(Model(other, "v2"))  # type: ignore[arg-type]
    after = models.ask([Question(k=2)])
    recorder.went.set()
    assert (before.result(30).version, switched.result(30), after.result(30).version) == ("v1", None, "v2")
    models.close()


def test_an_error_is_told_to_all_who_asked_together_and_ends_nothing() -> None:
    models, recorder = started()
    recorder.fails = True
    first = held(models, recorder)
    asked = [models.ask([Question(k=1)]) for _ in range(2)]
    recorder.went.set()
    for of in (first, *asked):
        with pytest.raises(RuntimeError, match="no answer"):
            of.result(30)
    with pytest.raises(ZeroDivisionError):
        models.call(lambda model: 1 // 0).result(30)
    recorder.fails = False
    assert len(models.ask([Question()]).result(30).answers) == 1
    models.close()


def test_who_gives_up_stops_nobody_and_an_ended_thread_says_so() -> None:
    models, recorder = started()
    held(models, recorder)
    given_up, kept = models.ask([Question(k=1)]), models.ask([Question(k=2)])
    assert given_up.cancel()
    recorder.went.set()
    assert kept.result(30).answers
    models.close()
    with pytest.raises(RuntimeError, match="has ended"):
        models.ask([Question()])
