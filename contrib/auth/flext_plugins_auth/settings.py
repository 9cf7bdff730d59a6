"""The settings in `[services.NAME.plugins.auth]`."""

from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, model_validator
from pydantic_core import PydanticCustomError

from flext_plugins import Secret, ServiceName, ServiceURL


def _secret_if_reference(value: object) -> object:
    if isinstance(value, str) and value.startswith(("env:", "file:")):
        return Secret(value)
    return value


def _words(value: object) -> object:
    """Sort and join the words, so that equal scopes share a token."""
    words = value.split() if isinstance(value, str) else value
    if isinstance(words, (list, tuple)) and all(isinstance(each, str) for each in words):
        return " ".join(sorted(set(words)))
    return value


_Reference = BeforeValidator(_secret_if_reference)
BodyValue: TypeAlias = Annotated[InstanceOf[Secret] | str | int | float | bool | None, _Reference]


class _Takes(NamedTuple):
    """The settings that a scheme takes."""

    needed: tuple[str, ...]
    possible: dict[str, Any]
    """With their defaults."""


SCHEMES = {
    "bearer": _Takes(("token",), {"replace": False}),
    "basic": _Takes(("username", "password"), {"replace": False}),
    "api-key": _Takes(("key",), {"header": "X-API-Key", "replace": False}),
    "login": _Takes(
        ("service", "username", "password"),
        {"url": "/auth/login", "token_path": "access_token", "leeway": 30.0, "replace": False}
        | {"body": {}},
    ),
    "oauth2": _Takes(
        ("client_id",),
        {"client_auth": "basic", "leeway": 30.0, "replace": False}
        | dict.fromkeys(("service", "url", "token_url", "client_secret"))
        | dict.fromkeys(("scope", "audience", "refresh_token")),
    ),
    "mtls": _Takes((), {}),
}


class AuthSettings(BaseModel):
    """The scheme, one of six, and its settings; those of other schemes are `None`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    scheme: Literal["bearer", "basic", "api-key", "login", "oauth2", "mtls"]
    """What kind of credential the service wants; it decides which settings may be given."""
    token: Secret | None = None
    """Sent as `Authorization: Bearer ...`."""
    username: Secret | None = None
    """Of the user who logs in, or whom `basic` names."""
    password: Secret | None = None
    """That user's; `basic` sends both as `Authorization: Basic ...`, in UTF-8."""
    header: str | None = Field(None, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    """The header that carries the key."""
    key: Secret | None = None
    """Sent as it is."""
    service: ServiceName | None = None
    """The service that gives the token, through its own connection and plugins; it may be this very
    one. `login` needs it; `oauth2` needs it and `url`, or `token_url`."""
    url: str | None = Field(None, pattern=r"^[!-~]+$")
    """A path at that service; the default is that of `login`."""
    body: dict[str, BodyValue] | None = Field(None, repr=False)
    """Further fields of the login, or other names for the two; `env:` and `file:` are read at each
    login."""
    token_path: str | None = Field(None, min_length=1)
    """The place of the token in the login's answer; dots lead inward, as in `data.token`."""
    token_url: ServiceURL | None = None
    """The whole address of a token service that is not configured as a service."""
    client_id: Annotated[InstanceOf[Secret] | str | None, _Reference] = None
    """The client's name at the token service: as it is, or a reference."""
    client_secret: Secret | None = None
    """The client's, where `client_auth` is `basic` or `body`."""
    client_auth: Literal["basic", "body", "mtls"] | None = None
    """How the client proves to the token service who it is: by basic authentication, by fields of
    the form, or by the token service's certificate."""
    scope: Annotated[
        str | None, BeforeValidator(_words, json_schema_input_type=str | list[str] | None)
    ] = None
    """What the token is to allow: words with blanks between, or a list."""
    audience: str | None = None
    """The service that the token is for, where the token service asks."""
    refresh_token: Secret | None = None
    """Gets the first token, in a user's name instead of the client's own."""
    leeway: float | None = Field(None, ge=0, le=1_000_000_000, allow_inf_nan=False)
    """Seconds before its end that a token is renewed; at most half its lifetime."""
    replace: bool | None = None
    """Whether a credential that the request brings gives way to the service's."""

    @model_validator(mode="before")
    @classmethod
    def _with_the_schemes_defaults(cls, values: Any) -> Any:
        scheme = values.get("scheme") if isinstance(values, dict) else None
        if not isinstance(scheme, str) or scheme not in SCHEMES:
            return values
        return SCHEMES[scheme].possible | values

    @model_validator(mode="after")
    def _fits_its_scheme(self) -> Self:
        takes = SCHEMES[self.scheme]
        problems = [f"needs {name}" for name in takes.needed if getattr(self, name) is None]
        if self.scheme == "oauth2":
            problems += self._missing_for_oauth2()
        others = self.model_fields_set - {"scheme", *takes.needed, *takes.possible}
        problems += [f"does not take {name}" for name in sorted(others)]
        if problems:
            # No ValueError: in its message the host would mask the scheme, a configured value.
            raise PydanticCustomError("scheme", f"scheme {self.scheme!r} {', '.join(problems)}")
        return self

    def _missing_for_oauth2(self) -> list[str]:
        problems = []
        at_service = (self.service is not None, self.url is not None)
        if at_service != ((False, False) if self.token_url else (True, True)):
            problems.append("needs either token_url, or service and url")
        if (self.client_auth == "mtls") == (self.client_secret is not None):
            takes = "takes no" if self.client_secret else "needs"
            problems.append(f"{takes} client_secret where client_auth is {self.client_auth!r}")
        return problems
