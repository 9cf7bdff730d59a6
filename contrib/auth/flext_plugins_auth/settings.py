"""What `[services.NAME.plugins.auth]` may say."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, model_validator
from pydantic_core import PydanticCustomError

from flext_plugins import Secret, ServiceName


def _secret_if_reference(value: object) -> object:
    if isinstance(value, str) and value.startswith(("env:", "file:")):
        return Secret(value)
    return value


BodyValue: TypeAlias = Annotated[
    InstanceOf[Secret] | str | int | float | bool | None, BeforeValidator(_secret_if_reference)
]


class _Keys(NamedTuple):
    needed: tuple[str, ...]
    possible: tuple[str, ...] = ()


SCHEMES = {
    "bearer": _Keys(("token",)),
    "basic": _Keys(("username", "password")),
    "api-key": _Keys(("key",), ("header",)),
    "login": _Keys(("service", "username", "password"), ("url", "body", "token_path")),
}


class AuthSettings(BaseModel):
    """One of four schemes, and what that scheme takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    scheme: Literal["bearer", "basic", "api-key", "login"]
    token: Secret | None = None
    username: Secret | None = None
    password: Secret | None = None
    header: str = Field("X-API-Key", pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    key: Secret | None = None
    service: ServiceName | None = None
    """Whose own connection the login goes through."""
    url: str = "/auth/login"
    body: dict[str, BodyValue] = Field(default_factory=dict, repr=False)
    """Fields of the login beside user name and password; `env:` and `file:` are read at each."""
    token_path: str = Field("access_token", min_length=1)
    """Where the login's answer has the token; dots lead inward."""

    @model_validator(mode="after")
    def _fits_its_scheme(self) -> Self:
        keys = SCHEMES[self.scheme]
        missing = [name for name in keys.needed if getattr(self, name) is None]
        others = self.model_fields_set - {"scheme", *keys.needed, *keys.possible}
        said = [f"needs {name}" for name in missing]
        said += [f"does not take {name}" for name in sorted(others)]
        if said:
            # No ValueError: in its message the host would mask the scheme, a configured value.
            raise PydanticCustomError("scheme", f"scheme {self.scheme!r} {', '.join(said)}")
        return self
