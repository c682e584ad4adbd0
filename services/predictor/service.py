"""The predictor as a BentoML service: `bentoml serve services.predictor.service:Predictor`.

The model is loaded when the worker creates the service, never at import: BentoML's parent process imports this
module too. A version that cannot be served (hash or contract mismatch) leaves the process alive but never ready,
so that a roll-out sees the reason and the old version keeps serving.
"""

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.predictor.api import Api

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml  # noqa: E402  reads the variable above when it is imported

Application = Callable[[Any, Any, Any], Awaitable[None]]


class Mount:
    """Passes requests on to the API once the worker has made it; keeps numpy and pandas out of the parent."""

    application: "Api | None" = None

    def api(self) -> "Api":
        """The API; the worker accepts no request before the service exists."""
        if self.application is None:
            raise RuntimeError("a request came before the service was created")
        return self.application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Forward one request."""
        await self.api()(scope, receive, send)


MOUNT = Mount()


class Shortcut:
    """BentoML's application, past whose layers the two busy routes go straight to the API.

    They carry no cookies, sessions or BentoML serialisation, and the API measures, limits and refuses by itself:
    tracing, time-out, context and routing would cost more than the forests.
    """

    routes = frozenset(("/predict", "/forecast"))

    def __init__(self, bento: Application) -> None:
        self._bento = bento

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """Forward one request."""
        if scope["type"] == "http" and scope["path"] in self.routes and MOUNT.application is not None:
            return MOUNT.application(scope, receive, send)
        return self._bento(scope, receive, send)


@bentoml.asgi_app(MOUNT, path="/")
@bentoml.service(
    name="bikeshare-predictor",
    workers=1,
    # BentoML labels its own metrics with the raw path of the request: any client could grow them without bound.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
    # Answers take microseconds; what can be slow, reading a body, has its own limit in `api`.
    traffic={"timeout": 3600},
)
class Predictor:
    """Loads the pinned version and answers until it is told to stop."""

    def __init__(self) -> None:
        from bikeshare.settings import load_settings
        from services.predictor.start import Process

        self._process = Process(load_settings())
        MOUNT.application = self._process.api

    def __is_ready__(self) -> bool:
        return self._process.engine.ready

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Flush the prediction log and end the threads."""
        self._process.close()
