"""tenacity, as in its README: `@retry` around a function that sends; it knows nothing of HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import tenacity


class Retry:
    """Its defaults are those of a bare `@retry`: for ever, without a wait."""

    modes = ("sync",)
    lacks = frozenset(
        {
            "a_generator_is_not_sent_again",
            "a_multipart_file_is_sent_again",
            "an_open_file_is_sent_again",
            "retry_after_is_honoured",
            "a_post_is_not_repeated",
        }
    )

    def __init__(self, _: str, attempts: int | None = None, backoff: float = 0.0) -> None:
        self._client = httpx.Client()
        decorate: Any = tenacity.retry
        if attempts is not None:
            decorate = tenacity.retry(
                stop=tenacity.stop_after_attempt(attempts),
                wait=tenacity.wait_random_exponential(multiplier=backoff, max=10),
                retry=tenacity.retry_if_exception_type(httpx.HTTPError),
                reraise=True,
            )

        def send(method: str, url: str, **body: Any) -> None:
            self._client.request(method, url, **body).raise_for_status()

        self.send = decorate(send)

    def close(self) -> None:
        self._client.close()
