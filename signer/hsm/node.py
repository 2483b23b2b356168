"""Who may open a device's node or a service's socket. Looks at owner and mode, opens nothing."""

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Person:
    """A user of this machine, as the kernel sees him."""

    uid: int
    name: str
    groups: frozenset[int]

    @classmethod
    def of(cls, uid: int) -> Self:
        """Return the user with `uid`; of this process's own, with its groups as they are now."""
        try:
            entry = pwd.getpwuid(uid)
            name, groups = entry.pw_name, os.getgrouplist(entry.pw_name, entry.pw_gid)
        except KeyError:
            name, groups = f"user {uid}", []
        if uid == os.geteuid():
            groups = [os.getegid(), *os.getgroups()]
        return cls(uid, name, frozenset(groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What stands at a path, and whether somebody may read and write it."""

    path: Path
    there: bool
    usable: bool = False
    group: str = ""  # its group's name, or number where it has none

    @classmethod
    def look(cls, path: Path, person: Person) -> Self:
        """Look at `path` for `person`.

        For the user of this process the kernel decides, access control lists included. For another,
        owner, group and mode do: a list that names him is not seen.
        """
        try:
            status = path.stat()
        except (OSError, ValueError):
            return cls(path=path, there=False)
        if person.uid == os.geteuid():
            usable = os.access(path, os.R_OK | os.W_OK, effective_ids=True)
        elif person.uid == status.st_uid:
            usable = status.st_mode & 0o600 == 0o600
        elif status.st_gid in person.groups:
            usable = status.st_mode & 0o060 == 0o060
        else:
            usable = status.st_mode & 0o006 == 0o006
        return cls(
            path=path, there=True, usable=usable or person.uid == 0, group=_group(status.st_gid)
        )


def group_exists(name: str) -> bool:
    """Tell whether this machine has the group."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
