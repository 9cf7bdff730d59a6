"""A slapd that lives for a test: the devstack's, with a crowd and a password policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flext_plugins_devstack.directory import (
    BASE,
    GROUPS,
    MEMBERS,
    PASSWORD,
    PEOPLE,
    SERVICE,
    DirectoryServer,
    entry,
    people,
    root,
)
from flext_plugins_devstack.directory import USERS as EVERYDAY
from installed import or_skipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CROWD = f"ou=crowd,{BASE}"
USERS = {
    **EVERYDAY,
    "eve": ("Eve (Lock*) Out", "eve-passw0rd"),
    "old": ("Old Password", "old-passw0rd"),
    "new": ("New Password", "new-passw0rd"),
}
"""By `uid`: the name and the password. `old`'s has expired, `new` has to change it first."""
POLICIES = f"ou=policies,{BASE}"
PPOLICY = f"""
overlay ppolicy
ppolicy_default "cn=default,{POLICIES}"
ppolicy_use_lockout
"""


def _seed(crowd: int, numbers: bool) -> Iterator[str]:
    units = ("people", "groups", "crowd", "policies")
    yield from root(units, pwdPolicySubentry=f"cn=service,{POLICIES}")
    common: dict[str, Any] = {
        "objectClass": ["device", "pwdPolicy"],
        "pwdAttribute": "userPassword",
    }
    yield entry(f"cn=service,{POLICIES}", cn="service", **common)
    locking = {"pwdLockout": "TRUE", "pwdMaxFailure": "3"}
    yield entry(f"cn=default,{POLICIES}", cn="default", pwdMustChange="TRUE", **common, **locking)
    yield entry(f"cn=expiring,{POLICIES}", cn="expiring", pwdMaxAge="60", **common)
    more: dict[str, dict[str, str]] = {
        uid: {"telephoneNumber": "+351 1 234"} if numbers else {} for uid in USERS
    }
    more["old"]["pwdPolicySubentry"] = f"cn=expiring,{POLICIES}"
    more["old"]["pwdChangedTime"] = "20200101000000Z"
    more["new"]["pwdReset"] = "TRUE"
    yield from people(USERS, MEMBERS, more)
    for number in range(crowd):
        uid = f"crowd-{number:04}"
        yield entry(f"uid={uid},{CROWD}", objectClass="inetOrgPerson", uid=uid, cn=uid, sn="Crowd")


class Slapd(DirectoryServer):
    """One that is up, or the test is skipped.

    Args:
        folder: for its files.
        crowd: how many people there are in `ou=crowd`.
        numbers: whether people have telephone numbers.
        referral: where all of `ou=away` is; `self` is right here.
        more: as `DirectoryServer` has it.
    """

    base, people, groups, crowd_base, users = BASE, PEOPLE, GROUPS, CROWD, USERS
    bind_dn, bind_password = SERVICE, PASSWORD

    def __init__(
        self,
        folder: Path,
        crowd: int = 0,
        numbers: bool = False,
        referral: str = "",
        options: str = "",
        **more: Any,
    ) -> None:
        options = f"moduleload ppolicy\n{options}"
        with or_skipped():
            super().__init__(folder, options=options, overlays=PPOLICY, **more)
        self.entries = [*_seed(crowd, numbers)]
        if referral:
            ref = f"{self.url}/ou=away,{BASE}" if referral == "self" else referral
            away = ["referral", "extensibleObject"]
            self.entries.append(entry(f"ou=away,{BASE}", objectClass=away, ou="away", ref=ref))
        try:
            self.up()
        except BaseException:
            self.close()
            raise
