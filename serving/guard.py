"""The first look at a request: its token, size and type, before anything of its body is read."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from email.message import Message
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from serving.logs import log, of_error
from serving.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 1 << 20
_WITH_BODY = ("POST", "PUT", "PATCH")
_ROUTES = ("next-tracks", "listens", "users", "tracks", "model")
_REPLACED = "\ufffd"
"""What a server reads for bytes of a path that are not UTF-8."""


class Guard:
    """A middleware (ASGI) that refuses requests by their headers, and counts all of them."""

    def __init__(self, app: App, token: str | None, metrics: Metrics) -> None:
        """Take the application.

        Args:
            app: the application.
            token: bearer token that requests to /v1 must carry; None: none is required.
            metrics: what is counted.
        """
        self._app, self._token, self._metrics = app, token, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            refused = self._refused(scope)
            if refused is None:
                await self._app(scope, receive, counted)
            else:
                await _say(counted, *refused)
        except Exception as error:
            log(logging.ERROR, "a request failed", route=_route(scope["path"]), **of_error(error))
            raise
        finally:
            self._metrics.request(_route(scope["path"]), status, time.perf_counter() - began)

    def _refused(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        """Return status, message and headers of a refusal; None for a request that is let through."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        path, method = scope["path"], scope["method"]
        if path.startswith("/v1") and self._token is not None:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                return 401, "a bearer token is required", {"WWW-Authenticate": "Bearer"}
        if _REPLACED in path and not _is_utf8(unquote_to_bytes(scope.get("raw_path") or b"")):
            return 400, "the path is not UTF-8", {}  # another user or track would be taken for the one that is meant
        length = headers.get(b"content-length")
        with_body = method in _WITH_BODY and not (method == "POST" and path.endswith("/hide"))
        # where a length and chunks are said, servers differ in what they believe
        if with_body and (length is None or not length.isdigit() or b"transfer-encoding" in headers):
            return 411, "a Content-Length header is required", {}
        if length is not None and not (length.isdigit() and len(length) < 20 and int(length) <= MAX_BODY_BYTES):
            return 413, f"the body is larger than {MAX_BODY_BYTES} bytes", {}
        # Any web page can make a browser post a body of another type here, but not one of this type.
        if with_body and not _is_json(headers.get(b"content-type", b"").decode("latin-1")):
            return 415, "send Content-Type: application/json", {}
        return None


def _route(path: str) -> str:
    """Return the route of a path, without the ids in it."""
    parts = path.split("/")
    if len(parts) > 2 and parts[1] == "v1" and parts[2] in _ROUTES:
        return parts[2]
    return parts[1] if path in ("/healthz", "/readyz", "/metrics") else "other"


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(content_type: str) -> bool:
    if content_type == "application/json":
        return True
    message = Message()
    message["content-type"] = content_type
    return message.get_content_type() == "application/json"


async def _say(send: Send, status: int, message: str, headers: dict[str, str]) -> None:
    body = orjson.dumps({"detail": message})
    told = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
