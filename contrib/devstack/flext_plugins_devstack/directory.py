"""A real slapd on loopback, with users and groups, that can be stopped and started."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from .certificates import Authority
from .certificates import authority as authority_in
from .process import NotInstalled, listens
from .server import HOST, PATIENCE, bind

BASE = "dc=flext,dc=test"
PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"
SERVICE = f"cn=service,{BASE}"
"""The account that may read, and write below the base."""
PASSWORD = "s3rvice-passw0rd"  # noqa: S105 - of a directory that anybody may ask
USERS = {"ana": ("Ana Silva", "ana-passw0rd"), "bob": ("Bob Jones", "bob-passw0rd")}
"""The name and password of each `uid`."""
MEMBERS = {"engineers": ("ana", "bob"), "admins": ("ana",), "Sales, North": ("bob",)}
"""The members' `uid`s of each group."""

SCHEMA, MODULES = Path("/etc/ldap/schema"), Path("/usr/lib/ldap")
"""The folders of Debian and Ubuntu."""
ELSEWHERE = ("/usr/sbin", "/sbin")
"""Folders to search for slapd beside PATH, which has them for root alone."""
CONFIGURATION = """
include {schema}/core.schema
include {schema}/cosine.schema
include {schema}/inetorgperson.schema
modulepath {modules}
moduleload back_mdb
moduleload memberof
moduleload refint
pidfile {folder}/slapd.pid
{encryption}
{options}
database mdb
suffix "{base}"
directory {folder}/data
dbnosync
maxsize 268435456
rootdn "cn=root,{base}"
index objectClass,uid,member,entryCSN eq
limits dn.exact="{service}" size.soft=500 size.hard=500 size.prtotal=unlimited
{access}
access to attrs=userPassword by dn.exact="{service}" =wx by anonymous auth by * none
access to * by dn.exact="{service}" write by users read by anonymous auth
overlay memberof
memberof-refint TRUE
{overlays}
"""


def program() -> str:
    """Find slapd.

    Raises:
        NotInstalled: it is not here, or not as Debian and Ubuntu have it.
    """
    folders = os.pathsep.join([os.environ.get("PATH", ""), *ELSEWHERE])
    path = shutil.which("slapd", path=folders)
    if path is None or not (SCHEMA / "inetorgperson.schema").exists() or not MODULES.exists():
        raise NotInstalled("slapd is not installed: apt-get install slapd (Debian, Ubuntu)")
    return path


def entry(dn: str, **attributes: str | Sequence[str]) -> str:
    """Write an entry as LDIF; values are ASCII."""
    lines = [f"dn: {dn}"]
    for name, values in attributes.items():
        lines += [f"{name}: {each}" for each in ([values] if isinstance(values, str) else values)]
    return "\n".join(lines) + "\n\n"


def people(
    users: Mapping[str, tuple[str, str]],
    members: Mapping[str, Sequence[str]],
    more: Mapping[str, Mapping[str, str | Sequence[str]]] | None = None,
) -> Iterator[str]:
    """Write users and groups as LDIF; `more` has further attributes by `uid`."""
    for uid, (name, password) in users.items():
        yield entry(
            f"uid={uid},{PEOPLE}",
            objectClass="inetOrgPerson",
            uid=uid,
            cn=name,
            sn=name.split()[-1],
            mail=f"{uid}@flext.test",
            departmentNumber="42",
            userPassword=password,
            # The overlay writes it later on, but not while slapd loads what is there at first.
            memberOf=[_group(cn) for cn, uids in members.items() if uid in uids],
            **(more or {}).get(uid, {}),
        )
    for cn, uids in members.items():
        member = [f"uid={uid},{PEOPLE}" for uid in uids]
        yield entry(_group(cn), objectClass="groupOfNames", cn=cn, member=member)


def root(units: Iterable[str] = ("people", "groups"), **service: str) -> Iterator[str]:
    """Write the base, its units and the service account as LDIF; `service` adds to the account."""
    yield entry(BASE, objectClass=["dcObject", "organization"], o="Flext", dc="flext")
    for unit in units:
        yield entry(f"ou={unit},{BASE}", objectClass="organizationalUnit", ou=unit)
    kinds = ["organizationalRole", "simpleSecurityObject"]
    yield entry(SERVICE, objectClass=kinds, cn="service", userPassword=PASSWORD, **service)


def _group(name: str) -> str:
    return "cn={},{}".format(name.replace(",", "\\,"), GROUPS)


class DirectoryServer:
    """A slapd in a process of its own, on a port for `ldap://` and one for `ldaps://`.

    Args:
        folder: for its files; a temporary one by default.
        authority: issues its certificate; by default one of its own.
        tls: whether it supports TLS.
        options: lines of slapd.conf before the database.
        access: rules of access, which come before the others.
        overlays: further lines of the database's section.

    Attributes:
        entries: its first content as LDIF, which the first `up` loads.

    Raises:
        NotInstalled: slapd is not installed.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        authority: Authority | None = None,
        tls: bool = True,
        options: str = "",
        access: str = "",
        overlays: str = "",
    ) -> None:
        path = program()
        self.entries = [*root(), *people(USERS, MEMBERS)]
        self._resources, self._tls = ExitStack(), tls
        if folder is None:
            folder = Path(self._resources.enter_context(TemporaryDirectory(prefix="slapd-")))
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        # Where it is installed Ubuntu's AppArmor lets it read no folder but the system's.
        self._program = shutil.copy(path, folder / "slapd")
        self.authority = authority or authority_in(folder / "tls")
        self.ca_file = str(self.authority.path)
        self.port, self.tls_port = (
            self._resources.enter_context(bind()).getsockname()[1] for _ in range(2)
        )
        self.target = f"{HOST}:{self.port}"
        self.url, self.tls_url = f"ldap://{self.target}", f"ldaps://{HOST}:{self.tls_port}"
        self._configure(options, access, overlays)
        self._is_loaded = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The id of its process; `None` while it is down."""
        return None if self._process is None else self._process.pid

    def settings(self, **more: object) -> dict[str, object]:
        """The settings of the plugin `ldap` for this directory, and `more`."""
        return {
            "url": self.url,
            "ca_file": self.ca_file,
            "bind_dn": SERVICE,
            "bind_password": PASSWORD,
            "search_base": BASE,
            **more,
        }

    def up(self) -> None:
        """Start until connections are accepted; does nothing when running.

        Raises:
            RuntimeError: it did not start within 5 seconds; the message has its output.
        """
        if self._process is not None:
            return
        if not self._is_loaded:
            self._load()
            self._is_loaded = True
        with (self.folder / "log").open("ab") as log:
            addresses = f"{self.url}/ {self.tls_url}/" if self._tls else f"{self.url}/"
            self._process = subprocess.Popen(  # noqa: S603 - the program that was found
                [self._program, "-f", "slapd.conf", "-h", addresses, "-d", "0"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE
        while not listens(self.tls_port if self._tls else self.port):
            if self._process.poll() is not None or time.monotonic() > end:
                self.down()
                raise RuntimeError(f"slapd does not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.005)

    def down(self) -> None:
        """Kill it; connections are refused until `up`, which uses the same ports."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Kill it and give its ports back; do nothing the second time."""
        self.down()
        self._resources.close()

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _configure(self, options: str, access: str, overlays: str) -> None:
        file = self.authority.server
        encryption = f"TLSCertificateFile {file}\nTLSCertificateKeyFile {file}"
        (self.folder / "slapd.conf").write_text(
            CONFIGURATION.format(
                schema=SCHEMA,
                modules=MODULES,
                folder=self.folder,
                base=BASE,
                service=SERVICE,
                encryption=encryption if self._tls else "",
                options=options,
                access=access,
                overlays=overlays,
            )
        )

    def _load(self) -> None:
        (self.folder / "seed.ldif").write_text("".join(self.entries))
        done = subprocess.run(  # noqa: S603 - the program that was found
            [self._program, "-T", "add", "-q", "-f", "slapd.conf", "-l", "seed.ldif"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"slapd does not take what it is to hold: {done.stderr}")
