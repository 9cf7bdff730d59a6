"""The act of the demo with a directory, which names a call's user, fails and recovers."""

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack

import httpx

from flext_plugins import Host, Refused, installed, options
from flext_plugins_devstack.directory import USERS, DirectoryServer, program
from flext_plugins_devstack.process import NotInstalled
from flext_plugins_devstack.stack import Devstack

from .checks import CONFIG, Since, Skipped, environment, expect

THRESHOLD = 3
MOST = 10  # calls until the circuit refuses one: more only where they take as long as it is open
PASSWORD = "DEMO_DIRECTORY_PASSWORD"  # noqa: S105 - the variable that holds it
HEADERS = ("X-User", "X-Department", "X-Groups")
ANA = ["ana", "42", "admins,engineers"]


def identity(stack: Devstack) -> Iterator[str]:
    """Ask a directory, name calls' users by it, kill it, and bring it back."""
    if missing := "; ".join(_missing()):
        raise Skipped(missing)
    with ExitStack() as opened:
        directory = opened.enter_context(DirectoryServer())
        laid_over = _variables(directory)
        for name, value in laid_over.items():
            yield f"{name}={value}" if name.startswith("FLEXT__") else f"{name}=***"
        opened.enter_context(environment(laid_over))
        host = opened.enter_context(Host.from_file(CONFIG))
        flexcore = host.connect("flexcore")
        yield from _authentication(host)
        yield from _identification(stack, flexcore)
        wait = yield from _refusals(stack, directory, host, flexcore)
        directory.up()
        yield f"slapd, process {directory.pid}, is there again"
        time.sleep(wait)
        yield from _identification(stack, flexcore)
        yield from _circuits(stack, directory, host, "closed")


def _missing() -> Iterator[str]:
    if all(each.name != "ldap" for each in installed()):
        yield "flext-plugins-ldap is not installed: the extra `demo` of flext-plugins-devstack"
    try:
        program()
    except NotInstalled as error:
        yield str(error)


def _variables(directory: DirectoryServer) -> dict[str, str]:
    plugins = "FLEXT__SERVICES__FLEXCORE__PLUGINS__"
    settings = directory.settings(ttl=0)  # the directory is asked each time
    password = str(settings["bind_password"])
    settings["bind_password"] = f"env:{PASSWORD}"
    return {
        f"{plugins}CIRCUIT_BREAKER__FAILURE_THRESHOLD": f"{THRESHOLD}",
        f"{plugins}CIRCUIT_BREAKER__RECOVERY_TIMEOUT": "1",
        **{f"{plugins}LDAP__{name.upper()}": f"{value}" for name, value in settings.items()},
        PASSWORD: password,
    }


def _authentication(host: Host) -> Iterator[str]:
    # Not before: the first act shows that no plugin has been imported.
    from flext_plugins_ldap import AuthenticationFailed, Directory  # noqa: PLC0415

    company = host.resource("flexcore", Directory)
    _, password = USERS["ana"]
    user = company.authenticate("ana", password)
    yield f"ana, with her password: {user.dn}"
    expect("who was authenticated", "ana", user.username)
    answers = []
    for name in ("ana", "bob", "zoe"):  # zoe is nobody
        try:
            answers.append(f"authenticated as {company.authenticate(name, 'a guess').dn}")
        except AuthenticationFailed as error:
            answers.append(str(error))
        yield f"{name}, with a guess: {answers[-1]}"
    expect("what a guess gets", ["flexcore: ldap: authentication failed"] * 3, answers)


def _identification(stack: Devstack, flexcore: httpx.Client) -> Iterator[str]:
    """Make a call for ana that claims to be for root."""
    since = Since(stack)
    status, _ = _outcome(flexcore, "ana")
    expect("status of a call for ana", "200", status)
    arrived = since.flexcore[-1].headers
    seen = [arrived.get(name.lower(), "nothing") for name in HEADERS]
    headers = ", ".join(f"{name}: {value}" for name, value in zip(HEADERS, seen, strict=True))
    yield f"flexcore saw {headers}"
    expect("who the call is for", ANA, seen)


def _refusals(
    stack: Devstack, directory: DirectoryServer, host: Host, flexcore: httpx.Client
) -> Generator[str, None, float]:
    """Kill the directory; returns the seconds for which its circuit stays open."""
    yield f"slapd, process {directory.pid}, is killed"
    directory.down()
    since, answers, wait = Since(stack), [""], None
    while answers[-1] != "CircuitOpen" and len(answers) <= MOST:
        name, error = _outcome(flexcore, "ana")
        answers.append(name)
        wait = error.retry_after if isinstance(error, Refused) else None
    yield f"for ana:    {', '.join(answers[1:])}; requests at flexcore: {len(since.flexcore)}"
    expect("first calls for ana", ["Refused"] * THRESHOLD, answers[1 : THRESHOLD + 1])
    expect("the last one", "CircuitOpen", answers[-1])
    expect("requests at flexcore", 0, len(since.flexcore))
    status, _ = _outcome(flexcore, None)
    yield f"for nobody: {status}"
    expect("status of a call for nobody", "200", status)
    yield from _circuits(stack, directory, host, "open")
    return (wait or 0.0) + 0.01


def _circuits(stack: Devstack, directory: DirectoryServer, host: Host, state: str) -> Iterator[str]:
    from flext_plugins_circuit_breaker import CircuitBreaker  # noqa: PLC0415 - as above

    breaker = host.resource("flexcore", CircuitBreaker)
    circuits = [breaker, breaker.circuit("ldap", directory.target)]
    seen = {each.target: each.state.value for each in circuits}
    yield f"circuits: {', '.join(f'{target} {state}' for target, state in seen.items())}"
    expect("circuits", {stack.flexcore.url: "closed", directory.target: state}, seen)


def _outcome(flexcore: httpx.Client, user: str | None) -> tuple[str, Exception | None]:
    """The status, or the error's name and the error; the caller claims to be root."""
    try:
        with options(user=user):
            return str(flexcore.get("/health", headers={"X-User": "root"}).status_code), None
    except httpx.TransportError as error:
        return type(error).__name__, error
