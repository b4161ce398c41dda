"""A harness that kills what serves, and then counts what was promised.

``python -m tests.e2e.chaos --kills 20 --seed 1 --store sqlite`` serves a small model with two replicas, posts and asks
without a break, and kills replicas, the whole service or Redis at random moments. Afterwards every acknowledged listen
must be in the store once and in the lake once, and answers must be those of a recommender in this process.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import httpx
import psutil

from fsvae.bundle import Bundle, load_bundle
from fsvae.online_question import Answer, Question
from fsvae.online_recommender import OnlineRecommender
from pipelines.cli.app import workspace_of
from pipelines.ingest.ingest import ingest
from pipelines.lifecycle.train import train
from pipelines.prepare.prepare import prepare
from pipelines.simulation.simulate import simulate
from pipelines.workspace import Workspace
from serving.ports import free_port
from serving.stores.open_store import open_store
from serving.stores.store import Store
from tests.serving.stores.redis_server import RedisServer

T = TypeVar("T")

FSVAE = Path(sys.executable).with_name("fsvae")
HOST = "127.0.0.1"
SMALL = [
    *("simulate.users=30", "simulate.tracks=100", "simulate.artists=20", "simulate.genres=5"),
    *("dataset.min_count=2", "dataset.track2vec.epochs=2", "train.max_epochs=1", "train.refit=false"),
    *("model.history=8", "model.slow_hidden=16", "model.slow_dim=8", "model.fast_hidden=16", "model.latent_dim=8"),
    "model.ranked=20",
]
CLIENTS = 4
NEW_USERS = ["new one", "new two"]
K = 10
TOLERANCE = 1e-4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEADLINE_S = 240.0
"""How long the service may take to answer, and a client to be told that its listen is stored."""
_KINDS = ("listen",) * 18 + ("skip", "like")


def small_model(folder: Path, seeds: Sequence[int] = (1,)) -> Workspace:
    """A working folder in which a small model was trained with each of some seeds; the first one is the champion."""
    workspace = workspace_of([f"workdir={folder}", *SMALL, "source=events"])
    config = workspace.config
    simulate(config.simulate, workspace.raw)
    ingest(workspace.lake(), config.source)
    prepare(workspace.lake(), config.dataset, config.seed, workspace.datasets)
    for seed in seeds:
        what = workspace.dataset(), config.model, config.train, seed, workspace.runs, workspace.tracker
        train(*what, lambda epoch, metrics: None, show_progress=False)
    return workspace


def waited_for(find: Callable[[], T], seconds: float = _DEADLINE_S) -> T:
    """What a function finds, as soon as it is something; what it found last if it is nothing in time."""
    deadline = time.monotonic() + seconds
    while not (found := find()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


class Service:
    """`fsvae serve` on a working folder and a port; its processes are killed at the end of a `with`."""

    def __init__(self, workspace: Workspace, *settings: str) -> None:
        self._folder = workspace.root.absolute()
        self.port = free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        self.settings = [f"workdir={self._folder}", *settings]
        self._log = self._folder / "serve.log"
        # Ray's sockets need a short path, and what a killed service leaves behind is deleted with this folder
        self._scratch = tempfile.TemporaryDirectory(prefix="chaos-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Service:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._scratch.cleanup()

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ChildProcessError: it ended.
            TimeoutError: it does not answer.
        """
        scratch = self._scratch.name
        environment = os.environ | {"FSVAE_TOKEN": "", "RAY_TMPDIR": scratch, "TMPDIR": scratch}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [FSVAE, "serve", f"serve.port={self.port}", *self.settings],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if not waited_for(lambda: self._ended() or self._answers()):
            raise TimeoutError(f"no answer at {self.url}; see {self._log}")
        if self._ended():
            raise ChildProcessError(f"fsvae serve ended: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what it has written."""
        return self._log.read_text()[-2000:]

    def processes(self) -> list[psutil.Process]:
        """It and all its descendants."""
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def replicas(self) -> list[psutil.Process]:
        """Its processes that answer."""
        return [one for one in self.processes() if _is_replica(one)]

    def kill(self) -> None:
        """Kill it and all its descendants, as a power cut does."""
        known: list[psutil.Process] = []
        # what is stopped starts nothing more; so none is left over
        while new := [one for one in self.processes() if one not in known]:
            for one in new:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.suspend()
            known += new
        for one in known:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        if self._process is not None:
            self._process.wait()
        if not waited_for(lambda: not any(_is_alive(one) for one in known), 30):
            raise TimeoutError(f"they live on: {[one for one in known if _is_alive(one)]}")

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_replica(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(part.startswith("ray::ServeReplica") for part in process.cmdline())
    return False


class Event(NamedTuple):
    """An event that a client posted."""

    user_id: str
    track_id: str
    played_at: int
    """Time [us since 1970 UTC], another one for each event."""
    kind: str


class Client(threading.Thread):
    """A client that posts and asks; what it posts it sends until it is acknowledged, with the same event ids."""

    def __init__(self, url: str, number: int, seed: int, users: Sequence[str], tracks: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._url, self._number, self._users, self._tracks = url, number, users, tracks
        self._random = random.Random(f"{seed} {number}")
        self._ids = (f"{number}-{n}" for n in itertools.count())
        self._latest = 0
        self.ended = threading.Event()
        """Set it to have the client stop after what it is about to send."""
        self.acknowledged: list[Event] = []
        self.again = 0
        """Events that were stored by a request whose answer did not arrive."""
        self.answered = 0
        self.failed: Counter[str] = Counter()
        self.answered_since = 0.0
        """When the last request that was answered was sent (`time.monotonic`)."""
        self.versions: list[str] = []
        """Versions of the model in the answers, without those that are as the one before."""
        self.problems: list[str] = []

    def run(self) -> None:
        try:
            with httpx.Client(base_url=self._url, timeout=10) as web:
                while not self.ended.is_set() and not self.problems:
                    if self._random.random() < 0.5:
                        self._post(web)
                    else:
                        self._ask(web)
                    time.sleep(self._random.uniform(0, 0.02))
        except Exception as error:  # such as an answer of another form
            self.problems.append(repr(error))

    def _post(self, web: httpx.Client) -> None:
        events = [self._event() for _ in range(self._random.randint(1, 3))]
        told = [
            {
                "event_id": next(self._ids),
                "user_id": one.user_id,
                "track_id": one.track_id,
                "played_at": (_EPOCH + timedelta(microseconds=one.played_at)).isoformat(timespec="microseconds"),
                "kind": one.kind,
            }
            for one in events
        ]
        deadline = time.monotonic() + _DEADLINE_S
        while (answer := self._said(web, "listens", {"listens": told})) is None:
            if self.problems:
                return
            if time.monotonic() > deadline:
                self.problems.append(f"not acknowledged in {_DEADLINE_S:g} s: {told}")
                return
            time.sleep(self._random.uniform(0.02, 0.2))
        if answer["stored"] + answer["known_already"] != len(events):
            self.problems.append(f"{len(events)} events were acknowledged with {answer}")
        self.again += answer["known_already"]
        self.acknowledged += events

    def _ask(self, web: httpx.Client) -> None:
        question = {"user_id": self._random.choice(self._users), "recent": [self._random.choice(self._tracks)], "k": K}
        answer = self._said(web, "next-tracks", question)
        if answer is None:
            return
        if len(answer["tracks"]) != K:
            self.problems.append(f"not {K} tracks: {answer}")
        if self.versions[-1:] != [answer["model_version"]]:
            self.versions.append(answer["model_version"])

    def _said(self, web: httpx.Client, route: str, body: dict[str, object]) -> dict[str, Any] | None:
        """The answer; None where there is none, or one that says to try again."""
        sent = time.monotonic()
        try:
            response = web.post(f"/v1/{route}", json=body)
        except httpx.HTTPError as error:
            self.failed[type(error).__name__] += 1
            return None
        # Ray Serve's own 404, without an answer of the application: it is starting
        if response.status_code >= 500 or (response.status_code == 404 and "/-/routes" in response.text):
            self.failed[f"{response.status_code} {response.text[:200]}"] += 1
            return None
        if response.status_code != 200:
            self.problems.append(f"{response.status_code} for {body}: {response.text}")
            return None
        self.answered += 1
        self.answered_since = sent
        return dict(response.json())

    def _event(self) -> Event:
        # one that comes late, now and then; no other client has the same microsecond
        now = max(time.time_ns() // 1000 // CLIENTS, self._latest + 1)
        self._latest = now
        late = self._random.choice((0,) * 19 + (3 * 86_400_000_000 // CLIENTS,))
        played_at = (now - late) * CLIENTS + self._number
        draw = self._random.choice
        return Event(draw(self._users), draw(self._tracks), played_at, draw(_KINDS))


@contextlib.contextmanager
def clients_of(url: str, bundle: Bundle, seed: int) -> Iterator[list[Client]]:
    """Clients that post and ask while the context is open, of users and tracks that a bundle knows and of new ones."""
    users, tracks = [*bundle.user_ids, *NEW_USERS], [*bundle.track_ids, "new track"]
    clients = [Client(url, number, seed, users, tracks) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.ended.set()
        for client in clients:
            client.join()


def acknowledged(clients: Sequence[Client]) -> Counter[Event]:
    """How often each event was acknowledged: once."""
    return Counter(event for client in clients for event in client.acknowledged)


@dataclass
class Outcome:
    """What the harness did and found."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, what: str, found: object) -> None:
        self.rows.append((what, f"{found:,}" if isinstance(found, int) else str(found)))

    def lines(self) -> list[str]:
        return [*(f"{what:<58} {found}" for what, found in self.rows), *(f"WRONG: {one}" for one in self.problems)]


def chaos(folder: Path, kills: int, seed: int, store: str) -> Outcome:
    """Make a model in a folder, serve it, kill what serves, and look whether anything was lost."""
    outcome = Outcome()
    workspace = small_model(folder / "work")
    with contextlib.ExitStack() as stack:
        redis = None
        settings = [f"serve.store={store}"]
        if store == "redis":
            (folder / "redis").mkdir()
            redis = stack.enter_context(RedisServer(folder / "redis"))
            settings.append(f"serve.redis_url={redis.url}")
        service = stack.enter_context(Service(workspace, *settings, "serve.replicas=2", "serve.num_cpus=2"))
        bundle = load_bundle(workspace.tracker.bundle(1))
        with clients_of(service.url, bundle, seed) as clients:
            _kill(service, redis, clients, kills, seed, outcome)
        outcome.problems += [problem for client in clients for problem in client.problems]
        outcome.add("requests answered", sum(client.answered for client in clients))
        failed = sum((client.failed for client in clients), Counter[str]())
        outcome.add("requests that failed", dict(failed))
        workspace = workspace_of(service.settings)
        promised = acknowledged(clients)
        outcome.add("events acknowledged", sum(promised.values()))
        outcome.add("of them stored by a request that failed", sum(client.again for client in clients))
        with contextlib.closing(open_store(workspace.store_place)) as opened:
            compare_events("the store", promised, Counter(stored_events(opened)), outcome)
            if outcome.problems:
                outcome.add("the service's last words", service.last_words())
                return outcome
            compare_answers(service.url, OnlineRecommender(bundle, None, opened.of_user, opened.tracks), outcome)
        _ingest(workspace, service.settings, promised, outcome)
    return outcome


def _kill(
    service: Service, redis: RedisServer | None, clients: Sequence[Client], kills: int, seed: int, outcome: Outcome
) -> None:
    """Kill at random moments; the next one comes when anybody was answered again."""
    draw = random.Random(seed)
    kinds = ["replica", "service", *([] if redis is None else ["redis"])]
    order = [kinds[number % len(kinds)] for number in range(kills)]
    draw.shuffle(order)
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind in order:
        time.sleep(draw.uniform(0.2, 3))
        if kind == "replica" and not _killed_one(service, draw):
            outcome.problems.append("no replica was started again")
            return
        began = time.monotonic()
        if kind == "service":
            service.kill()
            service.start()
        if kind == "redis" and redis is not None:
            redis.kill()
            time.sleep(draw.uniform(0, 2))
            redis.start()
        if not waited_for(lambda since=began: any(one.answered_since > since or one.problems for one in clients)):  # type: ignore[misc]
            outcome.problems.append(f"nobody was answered after the kill of: {kind}")
        if outcome.problems or any(client.problems for client in clients):
            return
        took[kind].append(time.monotonic() - began)
    for kind, seconds in took.items():
        until = f"; until an answer {median(seconds):.1f} s, at most {max(seconds):.1f} s" if seconds else ""
        outcome.add(f"kills: {kind}", f"{len(seconds)}{until}")


def _killed_one(service: Service, draw: random.Random) -> bool:
    """Kill a replica, as soon as there is one; whether there was."""
    found = waited_for(service.replicas)
    with contextlib.suppress(psutil.NoSuchProcess):
        if found:
            draw.choice(found).kill()
    return bool(found)


def stored_events(store: Store) -> Iterator[Event]:
    after = 0
    while page := store.since(after):
        for user_id, event in page:
            yield Event(user_id, event.track_id, event.played_at, event.kind)
        after = page[-1].event.sequence


def compare_events(where: str, promised: Counter[Event], found: Counter[Event], outcome: Outcome) -> None:
    """Take in how often each acknowledged event is found, and what is found beside them."""
    outcome.add(f"events in {where}", sum(found.values()))
    for what, events in (("missing", promised - found), ("too many", found - promised)):
        outcome.add(f"events {what} in {where}", sum(events.values()))
        if events:
            outcome.problems.append(f"{sum(events.values())} events are {what} in {where}: {next(iter(events))}, …")


def compare_answers(url: str, recommender: OnlineRecommender, outcome: Outcome) -> None:
    """Compare answers over HTTP with those of a recommender, with the scores of all tracks."""
    users = ["nobody", *NEW_USERS, *recommender.bundle.user_ids[:5]]
    at = datetime.now(UTC) + timedelta(hours=1)
    at_us, furthest = (at - _EPOCH) // timedelta(microseconds=1), 0.0
    for user in users:
        (answer,) = recommender.answers([Question(user, k=500, at=at_us)])
        assert isinstance(answer, Answer)
        expected = {track.track_id: track.score for track in answer.tracks}
        for _ in range(4):  # either replica answers, most likely
            question = {"user_id": user, "k": 500, "at": at.isoformat()}
            told = httpx.post(f"{url}/v1/next-tracks", json=question, timeout=60).raise_for_status().json()
            found = {track["track_id"]: track["score"] for track in told["tracks"]}
            if found.keys() != expected.keys() or told["known_user"] != answer.known_user:
                outcome.problems.append(f"other tracks are recommended to {user}")
                continue
            furthest = max(furthest, *(abs(found[track] - expected[track]) for track in found))
    outcome.add("answers compared with those of this process", 4 * len(users))
    outcome.add("largest difference of a score", f"{furthest:.1e}")
    if furthest > TOLERANCE:
        outcome.problems.append(f"scores differ by {furthest}")


def _ingest(workspace: Workspace, settings: Sequence[str], promised: Counter[Event], outcome: Outcome) -> None:
    """Take the store into the lake twice, and count what came."""
    command = [str(FSVAE), "ingest", "--source", "live", *settings]

    def run() -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, cwd=workspace.root, capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode:
            outcome.problems.append(f"fsvae ingest ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    run()
    manifest = workspace.lake().manifest
    earliest = min(promised, key=lambda event: event.played_at).played_at
    found: Counter[Event] = Counter()
    for day in workspace.lake().days():
        events = workspace.lake().read_day(day)
        assert events is not None
        rows = events.select("user_id", "track_id", events["played_at"].dt.epoch("us"), "kind").rows()
        found.update(event for event in map(Event._make, rows) if event.played_at >= earliest)
    compare_events("the lake", promised, found, outcome)
    said = run()
    if "nothing new" not in said or workspace.lake().manifest != manifest:
        outcome.problems.append(f"the second ingest took something: {said}")
    outcome.add("the second ingest", "took nothing" if "nothing new" in said else said)


def main() -> int:
    """Run the harness, print what it found, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started is ended, too
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        outcome = chaos(Path(folder), options.kills, options.seed, options.store)
    print(f"\n{options.kills} kills, seed {options.seed}, store {options.store}", *outcome.lines(), sep="\n")  # noqa: T201
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
