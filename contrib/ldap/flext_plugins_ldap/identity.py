"""Headers that name the user of a request, with department and groups."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from flext_plugins import ConfigError, DeadlineExceeded, Refused

from .entry import values_of
from .errors import DirectoryError, UserNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flext_plugins import Connection, Request

    from .directory import AsyncDirectory

K = TypeVar("K")
V = TypeVar("V")
MOST_USERS = 10_000
"""Users whose headers a service caches, at most."""
_ATTRIBUTE = r"^[A-Za-z0-9][A-Za-z0-9.-]*(;[A-Za-z0-9-]+)*$"
_NAME = r"^[A-Za-z0-9!#$%&'*+.^`|~-]+$"


class IdentitySettings(BaseModel):
    """The settings for the headers that name a request's user."""

    identity: str | None = Field(None, min_length=1)
    """The user of calls if the application names none; without it such calls are for nobody."""
    user_header: str = Field("X-User", pattern=_NAME)
    """The header that names the user."""
    department_header: str = Field("X-Department", pattern=_NAME)
    """The header that names the user's department."""
    groups_header: str = Field("X-Groups", pattern=_NAME)
    """The header that lists the user's groups."""
    department_attribute: str = Field("departmentNumber", pattern=_ATTRIBUTE)
    """The attribute that holds a user's department."""
    ttl: float = Field(60.0, ge=0, le=1_000_000_000, allow_inf_nan=False)
    """Seconds for which a user's headers are cached, and the directory not asked again."""
    longest_header: int = Field(4096, ge=1, le=1_000_000)
    """Bytes of a header's value; a call whose user would need more is refused."""

    @model_validator(mode="after")
    def _headers_differ(self) -> Self:
        if len({_fold(each) for each in self.headers}) < len(self.headers):
            raise PydanticCustomError("headers", "each header needs a name of its own")
        return self

    @property
    def headers(self) -> tuple[str, str, str]:
        """The names of the headers for user, department and groups."""
        return self.user_header, self.department_header, self.groups_header


class _Person(NamedTuple):
    """One entry of the directory, however a call names it."""

    dn: str
    username: str
    """As the directory spells it."""


class _Cache(Generic[K, V]):
    """The latest so many of what the directory said, each until its time is up."""

    def __init__(self) -> None:
        self._all: dict[K, tuple[V, float]] = {}
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        value, until = self._all.get(key, (None, 0.0))
        return value if time.monotonic() < until else None

    def put(self, key: K, value: V, until: float) -> None:
        """Cache `value` until a time on the clock of `time.monotonic`."""
        with self._lock:
            self._all.pop(key, None)
            if len(self._all) >= MOST_USERS:
                del self._all[next(iter(self._all))]  # the oldest
            self._all[key] = value, until


class Identity:
    """Marks the requests of one service; shared by its connections, threads and event loops."""

    def __init__(self, settings: IdentitySettings) -> None:
        self._settings = settings
        self._names = frozenset(_fold(each) for each in settings.headers)
        self._people = _Cache[str, _Person]()
        """By the names that calls gave: found by `ANA` and by mail, ana is one."""
        self._headers_of = _Cache[_Person, Mapping[str, str]]()

    async def mark(
        self, request: Request, connection: Connection, directory: AsyncDirectory | None
    ) -> None:
        """Set the headers that name the user, and remove those that the request brought itself.

        Args:
            request: loses these headers, whoever set them.
            connection: says who the call is for.
            directory: of this connection; without one, no request says anything.

        Raises:
            Refused: the directory knows no such user, cannot be asked, or knows more than a header
                may hold.
            DeadlineExceeded: the call's time is up.
            ConfigError: the directory's own settings cannot be used.
        """
        for name in [each for each in request.headers if _fold(each) in self._names]:
            del request.headers[name]
        call = connection.call
        user = call.user if call and call.user is not None else self._settings.identity
        if user is None or directory is None:
            return
        if len(user) > self._settings.longest_header:  # nor does the cache keep such names
            raise Refused("the directory knows no such user: no header could hold the name")
        headers = self._valid(user)
        if headers is None:
            work = partial(self._fetch, user, directory)
            headers = await connection.once(user, work)
        for name, value in headers.items():
            request.headers[name] = value

    def _valid(self, user: str) -> Mapping[str, str] | None:
        person = self._people.get(user)
        return None if person is None else self._headers_of.get(person)

    async def _fetch(self, user: str, directory: AsyncDirectory) -> Mapping[str, str]:
        headers = self._valid(user)  # another flight may have landed since
        return await self._look_up(user, directory) if headers is None else headers

    async def _look_up(self, user: str, directory: AsyncDirectory) -> Mapping[str, str]:
        """Ask the directory for the values of the headers, or only who it is if that suffices.

        What went wrong at the directory leaves as `Refused`: it is no failure of the HTTP service.
        """
        attribute = self._settings.department_attribute
        until = time.monotonic() + self._settings.ttl  # counted from before the question
        try:
            entry = await directory.user(user, (attribute,))
            person = _Person(entry.dn, entry.username)
            self._people.put(user, person, until)
            if (headers := self._headers_of.get(person)) is not None:
                return headers
            groups = await directory.groups(entry.username)
        except UserNotFound as error:
            raise Refused("the directory knows no such user") from error
        except (ConfigError, DeadlineExceeded, Refused):
            raise
        except Exception as error:
            why = f": {error.args[0]}" if isinstance(error, DirectoryError) else ""
            raise Refused(f"the directory cannot be asked who the user is{why}") from error
        facts = (entry.username,), values_of(entry.attributes, attribute), sorted(set(groups))
        headers = dict(self._headers(*facts))
        self._headers_of.put(person, headers, until)
        return headers

    def _headers(self, *facts: Iterable[str | bytes]) -> Iterator[tuple[str, str]]:
        for header, values in zip(self._settings.headers, facts, strict=True):
            value = ",".join(_encode(each) for each in values)
            longest = self._settings.longest_header
            if len(value) > longest:
                raise Refused(f"the user's {header} would be longer than {longest} bytes")
            if value:
                yield header, value


def _encode(value: str | bytes) -> str:
    """Quote all but letters, digits and `-._~@`: no comma stays, and nothing that ends a header."""
    return quote(value, safe="@")


def _fold(header: str) -> str:
    """Fold a header's name as CGI and WSGI servers do, which take `X_User` for `X-User`."""
    return header.lower().replace("_", "-")
