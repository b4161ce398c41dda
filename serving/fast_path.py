"""The busiest routes without FastAPI, whose way from a body to an answer takes about as long as the model's.

A body that is right is answered here; all others go to FastAPI, which says what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from serving.guard import App, Receive, Scope, Send


class Route(NamedTuple):
    """A route that takes a JSON body."""

    body: TypeAdapter[Any]
    """What the body must be."""
    answer: Callable[[Any], Awaitable[Response]]


class FastPath:
    """An ASGI application that answers POST requests to some paths by itself, and passes on all others."""

    def __init__(
        self, app: App, routes: Mapping[str, Route], refusals: Mapping[type[Exception], Callable[[Any], Response]]
    ) -> None:
        """Take the application, which has the same routes.

        Args:
            app: the application.
            routes: what answers each path.
            refusals: what is answered where that raises one of some errors.
        """
        self._app, self._routes, self._refusals = app, routes, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        parts = [await receive()]
        while parts[-1].get("more_body"):
            parts.append(await receive())
        try:
            asked = route.body.validate_json(b"".join(part.get("body", b"") for part in parts))
        except ValidationError:
            await self._app(scope, _first(parts, receive), send)
            return
        try:
            response = await route.answer(asked)
        except tuple(self._refusals) as error:
            response = self._refusals[type(error)](error)
        await response(scope, receive, send)


def _first(parts: list[MutableMapping[str, Any]], receive: Receive) -> Receive:
    """Return a function that gives some messages again, and then those that follow."""
    left = iter(parts)

    async def again() -> MutableMapping[str, Any]:
        part = next(left, None)
        return await receive() if part is None else part

    return again
