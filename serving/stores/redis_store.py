"""A store in Redis, which replicas on any number of machines share.

Each write is one Lua script, which Redis runs by itself: nobody sees half of it. Those that are asked for side by side
are sent together. What is acknowledged is on disk where Redis has ``appendonly yes`` and ``appendfsync always``.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import orjson

from fsvae.errors import UserError
from fsvae.live_tracks import TrackNotice
from fsvae.live_users import ERASED, LiveEvent
from serving.stores.store import PAGE, Accuracy, Posted, Served, Stored, StoreError

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.commands.core import Script
    from redis.retry import Retry
except ImportError as error:
    raise UserError("A store in Redis needs the package redis: pip install 'fsvae[redis]'.") from error


_TIMEOUT_S = 5.0
"""How long Redis may take for an answer."""
_MOST_TOGETHER = 1000
"""Most writes that are sent at once: so they are answered in time."""
_DURABLE = {"appendonly": "yes", "appendfsync": "always"}
"""Settings of Redis with which what is acknowledged is on disk."""
_ERASURE = ""
"""Event id of an erasure, which no posted event has."""

# Keys: "sequence" is the last number; "events" holds [number, user, track, time, fraction, kind] by number, "user:…"
# the ids of a user's events by number. "changed" is the number of the last change of a track, "changes" the tracks by
# that of their latest, "tracks" the metadata of those that were added, "hidden" those that are hidden. "minutes" holds
# "minute version" by minute, "accuracy" their sums. "served:<endpoint>" is [version, bundle].
_STORE = """
local function store(user, id, event)
    local number = redis.call("INCR", KEYS[1])
    redis.call("ZADD", user, number, id)
    redis.call("ZADD", KEYS[2], number, string.format("[%d,", number) .. event)
    return number
end
"""
_CHANGE = 'redis.call("ZADD", KEYS[2], redis.call("INCR", KEYS[1]), ARGV[1])'
_LUA = {
    "add": f"""{_STORE}
local numbers = {{}}
for place = 1, #KEYS - 2 do
    local user, id = KEYS[place + 2], ARGV[2 * place - 1]
    numbers[place] = redis.call("ZSCORE", user, id) and 0 or store(user, id, ARGV[2 * place])
end
return numbers
""",
    "erase": f"""{_STORE}
local events = redis.call("ZRANGE", KEYS[3], 0, -1, "WITHSCORES")
for place = 2, #events, 2 do
    redis.call("ZREMRANGEBYSCORE", KEYS[2], events[place], events[place])
end
redis.call("DEL", KEYS[3])
return store(KEYS[3], ARGV[1], ARGV[2])
""",
    "of_user": """
local found = redis.call("ZRANGEBYSCORE", KEYS[2], "(" .. ARGV[1], "+inf", "WITHSCORES")
local events = {}
for place = 2, #found, 2 do
    events[place / 2] = redis.call("ZRANGEBYSCORE", KEYS[1], found[place], found[place])[1]
end
return events
""",
    "since": 'return redis.call("ZRANGEBYSCORE", KEYS[1], "(" .. ARGV[1], "+inf", "LIMIT", 0, ARGV[2])',
    "put_track": f'{_CHANGE} redis.call("HSET", KEYS[3], ARGV[1], ARGV[2])',
    "hide": f'{_CHANGE} redis.call(ARGV[2] == "1" and "SADD" or "SREM", KEYS[3], ARGV[1])',
    "tracks": """
local found = redis.call("ZRANGEBYSCORE", KEYS[1], "(" .. ARGV[1], "+inf", "WITHSCORES")
local tracks = {}
for place = 1, #found, 2 do
    local id = found[place]
    local hidden, metadata = redis.call("SISMEMBER", KEYS[2], id), redis.call("HGET", KEYS[3], id)
    tracks[#tracks + 1] = {id, tonumber(found[place + 1]), hidden, metadata}
end
return tracks
""",
    "serve": 'redis.call("SET", KEYS[1], ARGV[1])',
    "served": 'return redis.call("GET", KEYS[1])',
    "add_accuracy": """
local name = ARGV[2] .. " " .. ARGV[1]
redis.call("ZADD", KEYS[1], ARGV[2], name)
for sum = 3, 6 do
    redis.call("HINCRBYFLOAT", KEYS[2], name .. " " .. sum, ARGV[sum])
end
""",
    "accuracy": """
local rows = {}
for place, name in ipairs(redis.call("ZRANGEBYSCORE", KEYS[1], ARGV[1], "+inf")) do
    rows[place] = redis.call("HMGET", KEYS[2], name .. " 3", name .. " 4", name .. " 5", name .. " 6")
    table.insert(rows[place], 1, name)
end
return rows
""",
}


class _Write(NamedTuple):
    """A write that waits to be sent."""

    script: Script
    keys: list[bytes]
    values: list[bytes]
    done: Future[Any]


class RedisStore:
    """A store in Redis (`serving.stores.store.Store`), under keys that begin with a prefix."""

    def __init__(self, url: str, prefix: str = "fsvae") -> None:
        """Connect, and start the thread that writes.

        Args:
            url: ``redis://[user:password@]host[:port][/number]``, ``rediss://…`` with TLS or ``unix://path``.
            prefix: what all keys begin with; another one is another store.

        Raises:
            UserError: nobody answers there, or it is no url of Redis.
        """
        self._prefix = prefix
        self._client, self._name = _connected(url)
        self._scripts = {name: self._client.register_script(lua) for name, lua in _LUA.items()}
        self._gate = threading.Lock()
        self._closed = False
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, daemon=True, name="store")
        self._writer.start()

    def add(self, events: Sequence[Posted]) -> Future[list[int]]:
        """Store events, all or none."""
        keys = ["sequence", "events", *(f"user:{event.user_id}" for event in events)]
        return self._write("add", keys, lambda: [part for event in events for part in (event.event_id, _told(event))])

    def of_user(self, user_id: str, after: int) -> list[LiveEvent]:
        """Return a user's events with a sequence number above `after`, in the order in which they were stored."""
        return [_stored(event).event for event in self._read("of_user", ["events", f"user:{user_id}"], after)]

    def since(self, after: int) -> list[Stored]:
        """Return the first PAGE events of all users with a sequence number above `after`, in order of it."""
        return [_stored(event) for event in self._read("since", ["events"], after, PAGE)]

    def erase(self, user_id: str, until: int) -> Future[int]:
        """Delete all events of a user and leave one of the kind ERASED, at a time [us]."""
        erasure = Posted(_ERASURE, user_id, "", until, 0.0, ERASED)
        return self._write("erase", ["sequence", "events", f"user:{user_id}"], lambda: [_ERASURE, _told(erasure)])

    def put_track(self, notice: TrackNotice) -> Future[None]:
        """Add a track, or change its metadata."""
        metadata = (notice.title, notice.artist_id, notice.artist_name, notice.album)
        return self._write(
            "put_track", ["changed", "changes", "tracks"], lambda: [notice.track_id, orjson.dumps(metadata)]
        )

    def hide(self, track_id: str, hidden: bool) -> Future[None]:
        """Hide a track from everybody, or show it again."""
        return self._write("hide", ["changed", "changes", "hidden"], lambda: [track_id, str(int(hidden))])

    def tracks(self, after: int) -> list[TrackNotice]:
        """Return the tracks whose latest change has a number above `after`, in order of it."""
        return [
            TrackNotice(
                track_id.decode(), changed, bool(hidden), metadata is not None, *orjson.loads(metadata or b"[]")
            )
            for track_id, changed, hidden, metadata in self._read("tracks", ["changes", "hidden", "tracks"], after)
        ]

    def serve(self, endpoint: str, served: Served) -> Future[None]:
        """Say which model an endpoint is to serve."""
        return self._write("serve", [f"served:{endpoint}"], lambda: [orjson.dumps(tuple(served))])

    def served(self, endpoint: str) -> Served | None:
        """Return which model an endpoint is to serve; None: nobody has said yet."""
        found = self._read("served", [f"served:{endpoint}"])
        return None if found is None else Served(*orjson.loads(found))

    def add_accuracy(self, accuracy: Accuracy) -> Future[None]:
        """Add to the sums of a version and minute."""
        version, minute, *sums = accuracy
        keys = ["minutes", "accuracy"]
        return self._write("add_accuracy", keys, lambda: [version, str(minute), *(repr(_finite(one)) for one in sums)])

    def accuracy(self, since_minute: int) -> list[Accuracy]:
        """Return the sums of all minutes from one on, in order of version and minute."""
        rows = []
        for name, listens, *sums in self._read("accuracy", ["minutes", "accuracy"], since_minute):
            minute, version = name.decode().split(" ", 1)
            rows.append(Accuracy(version, int(minute), int(listens), *map(float, sums)))
        return sorted(rows)

    def close(self) -> None:
        """Let go of the connections; what was added stays."""
        with self._gate:
            self._closed = True
            self._waiting.put(None)
        self._writer.join()
        self._client.close()

    def _read(self, script: str, keys: Sequence[str], *values: int) -> Any:
        try:
            return self._scripts[script]([self._key(key) for key in keys], values)
        except redis.RedisError as error:
            raise StoreError(f"{self._name}: {error}") from error

    def _write(self, script: str, keys: Sequence[str], values: Callable[[], Sequence[str | bytes]]) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            told = [value.encode() if isinstance(value, str) else value for value in values()]
            write = _Write(self._scripts[script], [self._key(key) for key in keys], told, done)
        except Exception as error:  # what cannot be said fails before it is among others
            done.set_exception(error)
            return done
        with self._gate:
            if self._closed:
                raise StoreError(f"{self._name} is closed")
            self._waiting.put(write)
        return done

    def _key(self, name: str) -> bytes:
        return f"{self._prefix}:{name}".encode()

    def _write_all(self) -> None:
        """Send what waits, all of it together, until the store is closed."""
        while (first := self._waiting.get()) is not None:
            together = [first]
            while len(together) < _MOST_TOGETHER and not self._waiting.empty():
                if (another := self._waiting.get()) is None:
                    self._waiting.put(None)  # for the loop above
                    break
                together.append(another)
            # from here on a future cannot be cancelled, as by a client who goes: what it says would be lost
            self._send([one for one in together if one.done.set_running_or_notify_cancel()])

    def _send(self, together: Sequence[_Write]) -> None:
        """Send some writes in one go, and tell each of them; what is wrong with one does not fail the others."""
        answers: Sequence[Any]
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for one in together:
                    one.script(one.keys, one.values, client=pipeline)
                answers = pipeline.execute(raise_on_error=False)
        except Exception as error:
            answers = [error] * len(together)
        for one, answer in zip(together, answers, strict=True):
            if isinstance(answer, Exception):
                one.done.set_exception(StoreError(f"{self._name}: {answer}"))
            else:
                one.done.set_result(answer)


def _connected(url: str) -> tuple[redis.Redis, str]:
    """Return a client of a Redis that answers, and its address without a password."""
    # what failed is not tried again: it may have been done, and sums would count twice
    once = Retry(NoBackoff(), 0)
    try:
        client = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=once, protocol=2
        )
        at = client.get_connection_kwargs()
        place = at["path"] if "path" in at else f"{at.get('host', 'localhost')}:{at.get('port', 6379)}"
        name = f"{url.partition(':')[0]}://{place}/{at.get('db', 0)}"
        try:
            client.ping()
            _warn_of_loss(client, name)
        except redis.RedisError as error:
            raise UserError(
                f"Redis does not answer at {name}: {error}. Start it there, or give the store the url, user and "
                "password with which `redis-cli -u URL ping` says PONG."
            ) from error
    except UserError:
        raise
    except (ValueError, TypeError):
        # neither the url nor its error is shown: a password may be in it
        raise UserError(
            "The url of Redis cannot be read. It has the form redis://[user:password@]host[:port][/number], with "
            "% codes for signs such as / ? # @ in the password."
        ) from None
    return client, name


def _warn_of_loss(client: redis.Redis, name: str) -> None:
    """Warn if what Redis acknowledges is not on disk."""
    try:
        found = {key: value for asked in _DURABLE for key, value in client.config_get(asked).items()}
    except redis.ResponseError:  # a managed Redis may forbid the question
        return
    wrong = {key: found[key] for key, value in _DURABLE.items() if found.get(key, value) != value}
    if wrong:
        logging.getLogger("fsvae.serving").warning(
            "Redis at %s may lose what was acknowledged: it has %s. Set %s in redis.conf, or by CONFIG SET.",
            name,
            ", ".join(f"{key} {value}" for key, value in wrong.items()),
            " and ".join(f"`{key} {_DURABLE[key]}`" for key in wrong),
        )


def _told(event: Posted) -> bytes:
    """Return an event as it is stored, without the beginning, its number."""
    if not -(2**63) <= event.played_at < 2**63:  # other numbers are read as fractions
        raise ValueError(f"played_at {event.played_at} is too large")
    fraction = _finite(event.played_fraction, "played_fraction")
    return orjson.dumps((event.user_id, event.track_id, int(event.played_at), fraction, event.kind))[1:]


def _stored(told: bytes) -> Stored:
    sequence, user_id, *event = orjson.loads(told)
    return Stored(user_id, LiveEvent(sequence, *event))


def _finite(value: float, name: str = "a sum") -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, which is no number that can be stored")
    return float(value)
