"""The scheme `oauth2`: client credentials and refresh tokens, worded by oauthlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from oauthlib.oauth2 import BackendApplicationClient

from flext_plugins.http import basic_credentials

from .credential import Credential, reveal
from .token import Question

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flext_plugins import Secret

    from .settings import AuthSettings


@dataclass(frozen=True)
class OAuth2:
    """The grant of the scheme `oauth2`."""

    service: str
    url: str
    client_id: Secret | str | None
    client_secret: Secret | None
    client_auth: str
    scope: str | None
    audience: str | None
    refresh_token: Secret | None

    @classmethod
    def of(cls, settings: AuthSettings) -> OAuth2:
        """The grant that the settings describe."""
        address = settings.token_url
        return cls(
            address.origin if address else settings.service or "",
            address or settings.url or "",
            settings.client_id,
            settings.client_secret,
            settings.client_auth or "",
            settings.scope,
            settings.audience,
            settings.refresh_token,
        )

    @property
    def place(self) -> str:
        """The token service, for messages."""
        return f"the token service {self.service!r}"

    def questions(self, refresh: Credential | None) -> Iterator[Question]:
        """Yield the question with the latest refresh token, then the original one.

        References are read now.

        A user's own refresh token is never followed by the client's credentials: they would give
        the token of somebody else.
        """
        if refresh is not None:
            yield self._question(refresh)
        if self.refresh_token is None:
            yield self._question(None)
        elif refresh is None or reveal(self.refresh_token) != refresh.value:
            yield self._question(Credential(reveal(self.refresh_token)))

    def _question(self, refresh: Credential | None) -> Question:
        # None of what raises without the process-wide OAUTHLIB_INSECURE_TRANSPORT is called here:
        # whether an address may be plain http is the configuration's to say.
        name = Credential(reveal(self.client_id))
        secret = Credential(reveal(self.client_secret))
        client = BackendApplicationClient(name.value)
        fields: dict[str, Any] = {"scope": self.scope, "audience": self.audience}
        fields["include_client_id"] = self.client_auth != "basic"
        in_body = secret.value if self.client_auth == "body" else None
        if refresh is None:
            body = client.prepare_request_body(client_secret=in_body, **fields)
        else:
            body = client.prepare_refresh_body(
                refresh_token=refresh.value, client_id=name.value, client_secret=in_body, **fields
            )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        headers["Accept"] = "application/json"
        secrets = [secret.value, *([refresh.value] if refresh else [])]
        if not isinstance(self.client_id, str):
            secrets.append(name.value)
        if self.client_auth == "basic":
            pair = basic_credentials(quote_plus(name.value), quote_plus(secret.value)) or ""
            headers["Authorization"] = pair
            secrets.append(pair.removeprefix("Basic "))
        return Question(headers, body.encode(), "access_token", refresh, tuple(secrets))
