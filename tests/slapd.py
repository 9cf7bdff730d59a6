"""A slapd that lives for a test: TLS, people, groups and a password policy."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from certificates import Authority
from certificates import authority as authority_in

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = "dc=flext,dc=test"
PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"
CROWD = f"ou=crowd,{BASE}"
SERVICE = f"cn=service,{BASE}"
"""May read, and write what is below the base."""
PASSWORD = "s3rvice-passw0rd"
PATIENCE = 10.0
USERS = {
    "ana": ("Ana Silva", "ana-passw0rd"),
    "bob": ("Bob Jones", "bob-passw0rd"),
    "eve": ("Eve (Lock*) Out", "eve-passw0rd"),
    "old": ("Old Password", "old-passw0rd"),
    "new": ("New Password", "new-passw0rd"),
}
"""By `uid`: the name and the password. `old`'s has expired, `new` has to change it first."""
MEMBERS = {"engineers": ("ana", "bob"), "admins": ("ana",), "Sales, North": ("bob",)}

CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath {modules}
moduleload back_mdb
moduleload memberof
moduleload refint
moduleload ppolicy
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
limits dn.exact="cn=service,{base}" size.soft=500 size.hard=500 size.prtotal=unlimited
{access}
access to attrs=userPassword by dn.exact="cn=service,{base}" =wx by anonymous auth by * none
access to * by dn.exact="cn=service,{base}" write by users read by anonymous auth
overlay memberof
memberof-refint TRUE
overlay ppolicy
ppolicy_default "cn=default,ou=policies,{base}"
ppolicy_use_lockout
{overlays}
"""


def program(name: str) -> str:
    """Where it is; without it the test is skipped, or fails where CI is set."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        wanted = f"{name} (package slapd) is not installed; see tools/servers.sh"
        if os.environ.get("CI"):
            pytest.fail(f"{wanted} (nothing is skipped where CI is set)", pytrace=False)
        pytest.skip(wanted)
    return found


def _entry(dn: str, **attributes: str | list[str]) -> str:
    lines = [f"dn: {dn}"]
    for name, values in attributes.items():
        for value in [values] if isinstance(values, str) else values:
            lines.append(f"{name}: {value}")
    return "\n".join(lines) + "\n\n"


def _seed(crowd: int, numbers: bool) -> Iterator[str]:
    policy = ["device", "pwdPolicy"]
    policies = f"ou=policies,{BASE}"
    yield _entry(BASE, objectClass=["dcObject", "organization"], o="Flext", dc="flext")
    for unit in ("people", "groups", "crowd", "policies"):
        yield _entry(f"ou={unit},{BASE}", objectClass="organizationalUnit", ou=unit)
    yield _entry(
        SERVICE,
        objectClass=["organizationalRole", "simpleSecurityObject"],
        cn="service",
        userPassword=PASSWORD,
        pwdPolicySubentry=f"cn=service,{policies}",
    )
    common: dict[str, Any] = {"objectClass": policy, "pwdAttribute": "userPassword"}
    yield _entry(f"cn=service,{policies}", cn="service", **common)
    locking = {"pwdLockout": "TRUE", "pwdMaxFailure": "3"}
    yield _entry(f"cn=default,{policies}", cn="default", pwdMustChange="TRUE", **common, **locking)
    yield _entry(f"cn=expiring,{policies}", cn="expiring", pwdMaxAge="60", **common)
    more: dict[str, dict[str, str]] = {
        "old": {
            "pwdPolicySubentry": f"cn=expiring,{policies}",
            "pwdChangedTime": "20200101000000Z",
        },
        "new": {"pwdReset": "TRUE"},
    }
    for uid, (name, password) in USERS.items():
        yield _entry(
            f"uid={uid},{PEOPLE}",
            objectClass="inetOrgPerson",
            uid=uid,
            cn=name,
            sn=name.split()[-1],
            mail=f"{uid}@flext.test",
            departmentNumber="42",
            userPassword=password,
            memberOf=[
                f"cn={escaped(cn)},{GROUPS}" for cn, members in MEMBERS.items() if uid in members
            ],
            **more.get(uid, {}),
            **({"telephoneNumber": "+351 1 234"} if numbers else {}),
        )
    for cn, members in MEMBERS.items():
        yield _entry(
            f"cn={escaped(cn)},{GROUPS}",
            objectClass="groupOfNames",
            cn=cn,
            member=[f"uid={uid},{PEOPLE}" for uid in members],
        )
    for number in range(crowd):
        uid = f"crowd-{number:04}"
        yield _entry(f"uid={uid},{CROWD}", objectClass="inetOrgPerson", uid=uid, cn=uid, sn="Crowd")


def escaped(name: str) -> str:
    return name.replace(",", "\\,")


class Slapd:
    """One that may be stopped and started again on the same ports, with the same content.

    Args:
        folder: for its files.
        crowd: how many people there are in `ou=crowd`.
        options: more lines of configuration before the database.
        overlays: more lines of the database's configuration.
        access: who may what, asked before the rest.
        numbers: whether people have telephone numbers.
        authority: that of another one, in place of its own.
        referral: where all of `ou=away` is; `self` is right here.
        tls: whether it can.
    """

    base, people, groups, crowd_base, users = BASE, PEOPLE, GROUPS, CROWD, USERS
    bind_dn, bind_password = SERVICE, PASSWORD

    def __init__(
        self,
        folder: Path,
        crowd: int = 0,
        options: str = "",
        overlays: str = "",
        access: str = "",
        numbers: bool = False,
        authority: Authority | None = None,
        referral: str = "",
        tls: bool = True,
    ) -> None:
        self.folder, self._tls = folder, tls
        (folder / "data").mkdir(parents=True)
        self.authority = signed = authority or authority_in(folder / "tls")
        self.ca_file = str(signed.path)
        self.port, self.tls_port = _free(), _free()
        self.url, self.tls_url = (
            f"ldap://127.0.0.1:{self.port}",
            f"ldaps://127.0.0.1:{self.tls_port}",
        )
        self.target = f"127.0.0.1:{self.port}"
        encryption = f"TLSCertificateFile {signed.server}\nTLSCertificateKeyFile {signed.server}"
        (folder / "slapd.conf").write_text(
            CONFIGURATION.format(
                folder=folder,
                base=BASE,
                modules="/usr/lib/ldap",
                encryption=encryption if tls else "",
                options=options,
                overlays=overlays,
                access=access,
            )
        )
        seed = [*_seed(crowd, numbers)]
        if referral:
            ref = f"{self.url}/ou=away,{BASE}" if referral == "self" else referral
            away = ["referral", "extensibleObject"]
            seed.append(_entry(f"ou=away,{BASE}", objectClass=away, ou="away", ref=ref))
        (folder / "seed.ldif").write_text("".join(seed))
        self._run("slapadd", "-q", "-f", "slapd.conf", "-l", "seed.ldif")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Until it accepts connections; whoever has its port meanwhile is waited for."""
        end = time.monotonic() + PATIENCE
        process = self._process = self._launched()
        while not self._listens():
            said = (self.folder / "log").read_text()
            assert time.monotonic() < end, f"slapd does not listen: {said}"
            time.sleep(0.01)
            if process.poll() is not None:
                process = self._process = self._launched()

    def _launched(self) -> subprocess.Popen[bytes]:
        addresses = f"{self.url}/ {self.tls_url}/" if self._tls else f"{self.url}/"
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [program("slapd"), "-f", "slapd.conf", "-h", addresses, "-d", "0"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def _listens(self) -> bool:
        """Whether it is this very one that does, which writes its number once it can."""
        last = self.tls_port if self._tls else self.port
        process, file = self._process, self.folder / "slapd.pid"
        if process is None or not file.exists() or file.read_text().strip() != str(process.pid):
            return False
        try:
            socket.create_connection(("127.0.0.1", last), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """At once, whatever it was doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def settings(self, **more: Any) -> dict[str, Any]:
        """A table for the plugin that works here."""
        return {
            "url": self.url,
            "ca_file": self.ca_file,
            "bind_dn": SERVICE,
            "bind_password": PASSWORD,
            "search_base": BASE,
            **more,
        }


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
