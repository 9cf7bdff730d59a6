"""The errors of a database, typed by what the caller can do about them.

    FlextError
    └── DatabaseError               the database said no: see `code`
        ├── ConstraintViolated      a row breaks a rule of its table
        ├── RowRefused              a load stopped at a row: see `row` and `report`
        ├── OutcomeUnknown          the answer to a commit was lost: look first
        └── DatabaseUnavailable     it cannot be reached, or did not answer: try later

If the database does not accept the settings, it is a `ConfigError`, as everywhere.
"""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from flext_plugins import ConfigError, Failure, FlextError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .report import BadRow, LoadReport


class DatabaseError(FlextError):
    """The database refused a statement, or the statement could not be sent.

    Attributes:
        code: `ORA-...`, or the driver's `DPY-...`; `None` if it was found here.
        report: how far a load had come that this ended; else `None`.
    """

    report: LoadReport | None = None

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class ConstraintViolated(DatabaseError):
    """A row breaks a rule of its table: a key that exists, a value that is missing, a check."""


class RowRefused(DatabaseError):
    """A load with `on_error="raise"` came to a bad row; its batch is undone, those before are kept.

    Attributes:
        row: the row's number, and what is wrong with it.
    """

    def __init__(self, message: str, code: str | None = None, row: BadRow | None = None) -> None:
        super().__init__(message, code)
        self.row = row


class OutcomeUnknown(DatabaseError):
    """The answer to a commit was lost: what was to be committed is there, or it is not."""


class DatabaseUnavailable(DatabaseError):
    """The database did not answer.

    Attributes:
        failure: the place on the wire, for circuit-breaker and retry.
    """

    failure = Failure.READ


class Unreachable(DatabaseUnavailable):
    """Nothing was done: there is no session, or none that can be trusted."""

    failure = Failure.CONNECT


class Late(DatabaseUnavailable):
    """No answer came in time."""

    failure = Failure.TIMEOUT


class Exhausted(DatabaseUnavailable):
    """All sessions of the pool were busy: our own congestion."""

    failure = Failure.POOL


CONSTRAINTS = frozenset({1, 1400, 1407, 2290, 2291, 2292, 12899, 1438})
"""A key twice, a value missing, a check, a parent missing, children; too long, too large."""
CREDENTIALS = frozenset({1005, 1017, 1045, 28000, 28001, 28009, 1040})
"""The account: no password, a wrong one, no right to connect, locked, expired."""
GONE = frozenset({28, 1012, 1092, 2396, 3113, 3114, 3135, 12537, 12547, 12570, 25408})
"""The session is over: killed, idle for too long, the network or the server went away."""
CLOSED = frozenset({1033, 1034, 1089, 1090, 1109})
"""Starting or stopping; nothing was done."""
IN_DOUBT = frozenset({2050, 2051, 2053, 2054, 25405})
"""A commit of which nobody knows what became of it, at this database or at one linked to it."""
DRIVER_GONE = frozenset({"DPY-1001", "DPY-4011"})
ADDRESS = frozenset({"DPY-4000", "DPY-4017", "DPY-4018", "DPY-4026"})
"""What the driver says of a `dsn` that it cannot read."""
WITHOUT_WALLET, NO_WALLET = "DPY-4027", "DPY-2018"
"""A name was given, and no folder to look it up; the folder has no `ewallet.pem`."""
NO_SUCH_SCHEMA, OF_THE_APPLICATION = 1435, range(20000, 21000)
_OF_CERTIFICATES = frozenset({"X509", "PEM", "ASN1"})
ENDED = "the server ended TLS"
HINTS = {
    ENDED: "; it may ask for a certificate: check wallet",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "; check wallet",
    "TLSV1_ALERT_UNKNOWN_CA": "; check wallet",
    "CERTIFICATE_VERIFY_FAILED": "; check ca_file or wallet",
    "DPY-6002": "; check server_dn",
    "DPY-6006": "; check host or server_dn",
    "ORA-12514": "; check service_name, or wait until it has started",
    "ORA-12505": "; check sid, or wait until it has started",
}
_VALUE = re.compile(
    r"""(?<=').*(?=')|(?<=value )\S+(?= (?:greater|larger) than specified)"""
    r"""|(?<=[a-z]: ").*(?="(?:\n|$))|(?<=value ").*(?=" (?:for|is out of))""",
    re.DOTALL,
)
"""What messages quote of values; Oracle's own have names in double quotes, PostgreSQL's values."""


_DEFERRED = re.compile(r"ORA-02091: [^\n]*\n(ORA-\d{5})")
"""A commit that was undone, with the reason in the next line: a constraint that is deferred."""


def chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and its causes: the driver's own code is the innermost one's."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__


def code_of(error: BaseException) -> str | None:
    """The code that says what happened, however many errors stand around it.

    A listener's code, which the driver words anew, is the one that Oracle's documentation has.
    """
    found = None
    for each in chain(error):
        text = str(each)
        if deferred := _DEFERRED.match(text):
            return deferred[1]
        own = getattr(each.args[0], "full_code", None) if each.args else None
        similar = re.search(r"\(Similar to ORA-(\d{1,5})\)", text)
        found = f"ORA-{similar[1]:0>5}" if similar else own or found
    return found or None


def reason_of(error: BaseException) -> str:
    """Repeat what the driver says, in one line without values."""
    innermost = [*chain(error)][-1]
    if isinstance(innermost, ssl.SSLError):
        parts = innermost.reason or ENDED, getattr(innermost, "verify_message", "")
        hint = "; check ca_file or wallet" if innermost.library in _OF_CERTIFICATES else ""
        return ": ".join(filter(None, parts)) + (hint or HINTS.get(parts[0], ""))
    is_of_values = isinstance(error, StatementError) and not isinstance(error, DBAPIError)
    if is_of_values and not isinstance(innermost, SQLAlchemyError):
        return type(innermost).__name__  # it may quote the value
    return line_of(str(innermost)) or type(innermost).__name__


def line_of(message: str) -> str:
    """The first line of the driver's message, without values."""
    message = re.sub(r"\(CONNECTION_ID=[^)]*\)", "", message).strip()
    if deferred := _DEFERRED.match(message):
        message = message[deferred.start(1) :]
    number = re.match(r"ORA-(\d{5}): ", message)
    if number is not None and int(number[1]) not in OF_THE_APPLICATION:
        message = _VALUE.sub("***", message)
    return message.partition("\n")[0].rstrip(": ")


def number_of(code: str | None) -> int | None:
    """The number of one of the database's own codes."""
    return int(code[4:]) if code is not None and code.startswith("ORA-") else None


def of_connecting(error: BaseException, target: str, *, is_late: bool) -> FlextError:
    """The error for a session that could not be opened because of `error`."""
    code, reason = code_of(error), reason_of(error)
    number = number_of(code)
    if number in CREDENTIALS:
        return ConfigError(f"{target} does not accept username with password: {reason}")
    if code in ADDRESS or code == WITHOUT_WALLET:
        hint = "; wallet is the folder of tnsnames.ora" if code == WITHOUT_WALLET else ""
        return ConfigError(f"dsn: {reason}{hint}")
    if code == NO_WALLET:
        return ConfigError(f"wallet: {reason}")
    if number == NO_SUCH_SCHEMA:
        return ConfigError(f"schema: {reason}")
    if is_late:
        return Unreachable(f"{target} cannot be reached: timed out")
    hint = HINTS.get(code or "", "")
    return Unreachable(f"{target} cannot be reached: {reason}{hint}", code)


def of_statement(
    error: BaseException, what: str, target: str, *, is_late: bool, is_gone: bool
) -> DatabaseError:
    """The error for `what`, which `error` ended."""
    if is_late:
        return Late(f"{target} did not answer in time")
    code, reason = code_of(error), reason_of(error)
    number = number_of(code)
    if is_gone or number in GONE or code in DRIVER_GONE or isinstance(error, OSError):
        return DatabaseUnavailable(f"{target}: {what}: {reason}", code)
    if number in CLOSED:
        return Unreachable(f"{target}: {what}: {reason}", code)
    kind = ConstraintViolated if number in CONSTRAINTS else DatabaseError
    return kind(f"{what}: {reason}", code)
