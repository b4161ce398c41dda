"""The thread that asks the model: what waits is answered together, and the model can be exchanged between two batches.

Threads that take turns at the interpreter answer fewer requests than one, and a batch costs little more than a request.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from fsvae.live_users import LiveEvent
from fsvae.online_question import Answer, Question, RequestError
from fsvae.online_recommender import OnlineRecommender
from serving.metrics import Metrics

T = TypeVar("T")


_RANKING = 0.2
"""Share of the thread's time in which ranks are taken while requests wait; a rank costs about as much as a request."""


class Model(NamedTuple):
    """A model that answers."""

    recommender: OnlineRecommender
    version: str


class Answers(NamedTuple):
    """Answers to some questions, in their order, all by one model."""

    answers: list[Answer | RequestError]
    version: str


class Ranks(NamedTuple):
    """Ranks of some listens, in their order (`OnlineRecommender.ranks`), all by one model."""

    ranks: list[int | None]
    version: str


class _Asked(NamedTuple):
    questions: Sequence[Question]
    done: Future[Answers]
    since: float


class _Ranked(NamedTuple):
    events: Sequence[tuple[str, LiveEvent]]
    done: Future[Ranks]


class _Called(NamedTuple):
    work: Callable[[Model], Any]
    done: Future[Any]


class ModelThread:
    """A thread with a model; everything that reads or changes the model's state runs in it."""

    def __init__(self, model: Model, most: int, metrics: Metrics) -> None:
        """Start the thread.

        Args:
            model: the model.
            most: largest number of questions that are answered together, but for those that were asked together.
            metrics: what is counted.
        """
        self._model, self._most, self._metrics = model, most, metrics
        self._waiting: deque[_Asked | _Ranked | _Called] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._ranks_from = 0.0
        """When ranks may be taken again while requests wait (`time.perf_counter`)."""
        self._thread = threading.Thread(target=self._work, daemon=True, name="model")
        self._thread.start()

    @property
    def model(self) -> Model:
        """Return the model that answers now."""
        return self._model

    @property
    def waiting(self) -> int:
        """Return how many requests wait."""
        return len(self._waiting)

    def ask(self, questions: Sequence[Question]) -> Future[Answers]:
        """Return the answers to some questions."""
        done: Future[Answers] = Future()
        self._put(_Asked(questions, done, time.perf_counter()))
        return done

    def rank(self, events: Sequence[tuple[str, LiveEvent]]) -> Future[Ranks]:
        """Return the ranks of listens that were just stored, before the states of their users read them.

        Some have none while requests wait.
        """
        done: Future[Ranks] = Future()
        self._put(_Ranked(events, done))
        return done

    def call(self, work: Callable[[Model], T]) -> Future[T]:
        """Return what a function of the model returns, which is called when all that waits now is answered."""
        done: Future[T] = Future()
        self._put(_Called(work, done))
        return done

    def switch(self, model: Model) -> Future[None]:
        """Answer with another model from now on."""

        def exchange(_: Model) -> None:
            self._model = model

        return self.call(exchange)

    def close(self) -> None:
        """End the thread after all that waits."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        self._thread.join()

    def _put(self, one: _Asked | _Ranked | _Called) -> None:
        with self._ready:
            if self._closed:
                raise RuntimeError("the model's thread has ended")
            self._waiting.append(one)
            self._ready.notify()

    def _work(self) -> None:
        while together := self._next():
            first = together[0]
            if isinstance(first, _Called):
                _finish(first.done, lambda work=first.work: work(self._model))  # type: ignore[misc]
            else:  # the ranks first: what is asked reads the same listens
                asked = [one for one in together if isinstance(one, _Asked)]
                self._rank([one for one in together if isinstance(one, _Ranked)], busy=bool(asked or self._waiting))
                self._answer(asked)

    def _next(self) -> list[_Asked | _Ranked | _Called]:
        """Return what is done next: a call, or the questions and ranks that wait before the next one; [] at the end."""
        with self._ready:
            while not self._waiting and not self._closed:
                self._ready.wait()
            together: list[_Asked | _Ranked | _Called] = []
            number = 0
            while self._waiting:
                one = self._waiting[0]
                number += _size(one)
                if together and (isinstance(one, _Called) or number > self._most):
                    break
                together.append(self._waiting.popleft())
                if isinstance(one, _Called):
                    break
            return together

    def _rank(self, together: Sequence[_Ranked], busy: bool) -> None:
        if not together:
            return
        model, events, began = self._model, [event for one in together for event in one.events], time.perf_counter()
        left = busy and began < self._ranks_from
        try:
            ranks: list[int | None] = [None] * len(events) if left else model.recommender.ranks(events)
        except Exception as error:
            _fail(together, error)
            return
        begin = 0
        for one in together:
            end = begin + len(one.events)
            if one.done.set_running_or_notify_cancel():
                one.done.set_result(Ranks(ranks[begin:end], model.version))
            begin = end
        if not left:
            now = time.perf_counter()
            self._ranks_from = now + (now - began) * (1 - _RANKING) / _RANKING

    def _answer(self, together: Sequence[_Asked]) -> None:
        if not together:
            return
        began = time.perf_counter()
        questions = [question for one in together for question in one.questions]
        model = self._model
        try:
            answers = model.recommender.answers(questions)
            self._metrics.batch(len(questions), began - together[0].since, time.perf_counter() - began)
            self._metrics.read(*model.recommender.taken_reads())
        except Exception as error:
            _fail(together, error)
            return
        begin = 0
        for one in together:
            end = begin + len(one.questions)
            if one.done.set_running_or_notify_cancel():
                one.done.set_result(Answers(answers[begin:end], model.version))
            begin = end


def _size(one: _Asked | _Ranked | _Called) -> int:
    return len(one.questions) if isinstance(one, _Asked) else len(one.events) if isinstance(one, _Ranked) else 1


def _fail(together: Sequence[_Asked | _Ranked], error: Exception) -> None:
    for one in together:
        if one.done.set_running_or_notify_cancel():
            one.done.set_exception(error)


def _finish(done: Future[Any], work: Callable[[], Any]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(result)
