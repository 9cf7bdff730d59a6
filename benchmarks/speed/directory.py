"""A directory through the plugin `ldap`, beside bare ldap3 on the same slapd, over StartTLS.

*Search* finds a user by name, with all attributes, over a connection that is open and bound.
*Authenticate* searches as well, and then binds as the user over a connection for nothing else,
which is opened with its TLS, bound and closed. Bare ldap3 is as lean as it can be set up: it
verifies the certificate, asks for no schema and escapes the name; it has no pool, no deadline and
no time-out.
"""

from __future__ import annotations

import json
import ssl
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from flext_plugins_devstack import DirectoryServer, NotInstalled

from flext_plugins import Host

from .clients import running
from .measurement import Case, Table, awaited, timed
from .target import ratio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from .measurement import Run

NAME, SECRET = "ana", "ana-passw0rd"
NEEDS = ("ldap3", "flext-plugins-ldap", "slapd")
AROUND = ("circuit-breaker", "retry", "metrics")


@contextmanager
def slapd() -> Iterator[str]:
    """The plugin's settings, as JSON; empty if there is no slapd."""
    try:
        server = DirectoryServer()
    except NotInstalled:
        yield ""
        return
    with server:
        yield json.dumps(server.settings())


class Bare:
    """What a program does with ldap3 alone."""

    def __init__(self, stack: ExitStack, settings: dict[str, Any]) -> None:
        import ldap3  # noqa: PLC0415 - warns where it is not filtered
        from ldap3.utils.conv import escape_filter_chars  # noqa: PLC0415

        self._ldap3, self._escaped, self._base = ldap3, escape_filter_chars, settings["search_base"]
        tls = ldap3.Tls(
            validate=ssl.CERT_REQUIRED,
            ca_certs_file=settings["ca_file"],
            valid_names=["server"],  # of the names in a certificate ldap3 knows no addresses
        )
        self._server = ldap3.Server(settings["url"], tls=tls, get_info=ldap3.NONE)
        self._connection = self._bound(settings["bind_dn"], settings["bind_password"])
        stack.callback(self._connection.unbind)

    def _bound(self, dn: str, password: str) -> Any:
        how = self._ldap3.AUTO_BIND_TLS_BEFORE_BIND
        return self._ldap3.Connection(self._server, dn, password, auto_bind=how)

    def search(self) -> Any:
        """The user's entry."""
        wanted = f"(uid={self._escaped(NAME)})"
        self._connection.search(self._base, wanted, attributes=["*"])
        (entry,) = self._connection.response
        return entry

    def authenticate(self) -> None:
        """Nothing, if that is the password."""
        self._bound(self.search()["dn"], SECRET).unbind()


def bare(method: str, stack: ExitStack, place: str) -> Run:
    """A method of `Bare`."""
    return timed(getattr(Bare(stack, json.loads(place)), method))


def _host(place: str, plugins: tuple[str, ...]) -> Host:
    tables: dict[str, Any] = {"ldap": json.loads(place), **{name: {} for name in plugins}}
    return Host({"services": {"company": {"plugins": tables}}})


def ours(method: str, arguments: tuple[str, ...], plugins: tuple[str, ...], *where: Any) -> Run:
    """A method of a `Directory`."""
    from flext_plugins_ldap import Directory  # noqa: PLC0415 - where it is installed

    stack, place = where
    directory = stack.enter_context(_host(place, plugins)).resource("company", Directory)
    return timed(partial(getattr(directory, method), *arguments))


def aours(method: str, arguments: tuple[str, ...], stack: ExitStack, place: str) -> Run:
    """A method of an `AsyncDirectory`."""
    from flext_plugins_ldap import AsyncDirectory  # noqa: PLC0415 - where it is installed

    runner, host = running(stack), _host(place, ())
    stack.callback(lambda: runner.run(host.aclose()))
    directory = runner.run(host.aresource("company", AsyncDirectory))
    return awaited(runner, partial(getattr(directory, method), *arguments))


def _cases() -> Iterator[Case]:
    asked = {"search": ("user", (NAME,)), "authenticate": ("authenticate", (NAME, SECRET))}
    for name, (method, arguments) in asked.items():
        base = f"ldap3, {name}"
        yield Case(base, "bare ldap3", partial(bare, name), needs=NEEDS)
        for case, sentence, run in (
            (f"ours, {name}", "`Directory`", partial(ours, method, arguments, ())),
            (
                f"ours, {name}, 3 plugins",
                "`Directory` under `circuit-breaker`, `retry` and `metrics`",
                partial(ours, method, arguments, AROUND),
            ),
            (f"ours async, {name}", "`AsyncDirectory`", partial(aours, method, arguments)),
        ):
            yield Case(case, sentence, run, base, NEEDS)


TABLES = (
    Table(
        "directory",
        "A directory",
        tuple(_cases()),
        tuple(
            ratio(f"{name}, to bare ldap3", limit, f"ours, {name}", f"ldap3, {name}")
            for name, limit in (("search", 1.5), ("authenticate", 1.3))
        ),
        slapd,
        unit="µs per question",
        sample=0.12,  # the first of several connections in a row costs more than the next
        part=0.04,
    ),
)
