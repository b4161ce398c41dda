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

from fsvae.online_question import Answer, Question, RequestError
from fsvae.online_recommender import OnlineRecommender
from serving.metrics import Metrics

T = TypeVar("T")


class Model(NamedTuple):
    """A model that answers."""

    recommender: OnlineRecommender
    version: str


class Answers(NamedTuple):
    """Answers to some questions, in their order, all by one model."""

    answers: list[Answer | RequestError]
    version: str


class _Asked(NamedTuple):
    questions: Sequence[Question]
    done: Future[Answers]
    since: float


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
        self._waiting: deque[_Asked | _Called] = deque()
        self._ready = threading.Condition()
        self._closed = False
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

    def _put(self, one: _Asked | _Called) -> None:
        with self._ready:
            self._waiting.append(one)
            self._ready.notify()

    def _work(self) -> None:
        while together := self._next():
            first = together[0]
            if isinstance(first, _Called):
                _finish(first.done, lambda work=first.work: work(self._model))  # type: ignore[misc]
            else:
                self._answer([one for one in together if isinstance(one, _Asked)])

    def _next(self) -> list[_Asked | _Called]:
        """Return what is done next: a call, or the questions that wait before the next one; nothing at the end."""
        with self._ready:
            while not self._waiting and not self._closed:
                self._ready.wait()
            together: list[_Asked | _Called] = []
            number = 0
            while self._waiting:
                one = self._waiting[0]
                number += len(one.questions) if isinstance(one, _Asked) else self._most
                if together and number > self._most:
                    break
                together.append(self._waiting.popleft())
            return together

    def _answer(self, together: Sequence[_Asked]) -> None:
        began = time.perf_counter()
        questions = [question for one in together for question in one.questions]
        model = self._model
        try:
            answers = model.recommender.answers(questions)
        except Exception as error:
            for one in together:
                if one.done.set_running_or_notify_cancel():
                    one.done.set_exception(error)
            return
        self._metrics.batch(len(questions), began - together[0].since, time.perf_counter() - began)
        begin = 0
        for one in together:
            end = begin + len(one.questions)
            if one.done.set_running_or_notify_cancel():
                one.done.set_result(Answers(answers[begin:end], model.version))
            begin = end


def _finish(done: Future[Any], work: Callable[[], Any]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(result)
