"""FlexCore's way to FLEXT Service: a host, and one connection of it."""

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx
from starlette.responses import Response

from flext_plugins import FlextError, Host, Refused, ServiceError, options, raise_for_status

from .flext_service import API
from .problem import Problem, as_answer, document
from .server import Server

SERVICE = "flext-service"
WAIT = 2
"""Seconds that a pipeline gets to end before it is answered that it goes on."""
TIMEOUT = 4
"""Seconds for an answer: FlexCore stops within `PATIENCE`, whatever FLEXT Service does."""
PASSED_ON = (404, 413, 422, 503)
"""Statuses that mean the same to FlexCore's caller; the others are a bad gateway."""


@dataclass(frozen=True)
class Caller:
    """The one who has something forwarded."""

    correlation_id: Any = None
    user: Any = None
    authorization: str | None = None
    key: str | None = None
    """The `Idempotency-Key` that was sent."""


class Forwarding:
    """Asks a FLEXT Service, with the plugins that it is given.

    Args:
        service: where it runs.
        plugins: those of the connection, as configurations have them.
    """

    def __init__(self, service: Server, plugins: Mapping[str, Any]) -> None:
        self._service, self._plugins = service, dict(plugins)
        self._lock = threading.Lock()
        self._host: Host | None = None
        self._client: httpx.Client | None = None

    @property
    def url(self) -> str:
        """The service's origin."""
        return self._service.url

    @property
    def host(self) -> Host:
        """The host, made when it is first asked for."""
        with self._lock:
            if self._host is None:
                service = {"base_url": self.url, "proxy": False, "timeout": TIMEOUT}
                self._host = Host({"services": {SERVICE: {**service, "plugins": self._plugins}}})
            return self._host

    def health(self, caller: Caller) -> dict[str, Any]:
        """Ask the service for its health; raises as `run` does."""
        return self._ask("GET", "/health", caller)

    def run(self, job: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Have a pipeline run; how it stands at its end, or after a few seconds.

        Raises:
            Problem: the caller's own names cannot be sent.
            ServiceError: the service refused it.
            httpx.HTTPError: it did not answer, or a plugin refused to ask it.
        """
        key = caller.key or str(uuid4())  # a retry that sends it again starts no second run
        headers = {"Prefer": f"wait={WAIT}", "Idempotency-Key": key, "X-Pipeline-Type": "singer"}
        return self._ask("POST", f"{API}/pipelines/execute", caller, headers, job)

    def close(self) -> None:
        """Close the connection; it is made anew when somebody asks."""
        with self._lock:
            host, self._host, self._client = self._host, None, None
        if host is not None:
            host.close()

    def _ask(
        self,
        method: str,
        path: str,
        caller: Caller,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        sent = dict(headers or {})
        if caller.authorization is not None and "auth" not in self._plugins:
            sent["Authorization"] = caller.authorization
        with ExitStack() as inside:
            try:
                said = options(user=caller.user, correlation_id=caller.correlation_id)
                inside.enter_context(said)
            except (TypeError, ValueError) as error:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"metadata: {error}") from None
            answer = raise_for_status(
                self._connected().request(method, path, headers=sent, json=body)
            )
        found = answer.json()
        if not isinstance(found, dict):
            raise ValueError("the answer is no JSON object")  # noqa: TRY004 - about an answer
        return found

    def _connected(self) -> httpx.Client:
        host = self.host
        with self._lock:
            if self._client is None:
                self._client = host.connect(SERVICE)
            return self._client


def failure(error: Exception) -> Response:
    """The answer to whoever had something forwarded that came to nothing."""
    if isinstance(error, ServiceError):
        return as_answer(error.problem(error.status if error.status in PASSED_ON else 502))
    told = str(error) or type(error).__name__
    detail = told if isinstance(error, FlextError) else f"{SERVICE}: {told}"
    if isinstance(error, Refused):
        return document(HTTPStatus.SERVICE_UNAVAILABLE, detail)
    is_late = isinstance(error, httpx.TimeoutException)
    return document(HTTPStatus.GATEWAY_TIMEOUT if is_late else HTTPStatus.BAD_GATEWAY, detail)
