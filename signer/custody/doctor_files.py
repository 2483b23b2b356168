"""Whether others could read or change what an agent reads: files, folders, and the folders above.

Looks at owners, modes and kinds of disks. No secret's file is opened.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from signer.custody.doctor import Finding

_VOLATILE = ("tmpfs", "ramfs", "devtmpfs", "rootfs")
_LAYERED = ("overlay", "overlayfs", "aufs")
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs")
_MOST_LINKS = 16


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a file or folder."""

    words: str  # follows "the policy"
    fix: str
    state: str = "bad"


Judge = Callable[[os.stat_result], Trouble | None]


@dataclass(frozen=True, slots=True)
class Inspector:
    """Looks at files as the agent's user would have them: his or root's, and nobody else's."""

    owner: int  # uid of the user who runs the agent

    def public_file(self, code: str, what: str, path: Path) -> Finding:
        """Judge a file that decides what is signed: nobody else may change it."""

        def judge(status: os.stat_result) -> Trouble | None:
            if not stat.S_ISREG(status.st_mode):
                return Trouble("is not a regular file", "name the file itself")
            if status.st_mode & 0o022:
                return Trouble(
                    "can be changed by others", f"chmod go-w {path}, after a look at what is in it"
                )
            return self._owner_trouble(status)

        return self._judged(code, what, path, judge)

    def secret_file(self, code: str, what: str, path: Path) -> Finding:
        """Judge a secret's file: this user's, mode 0600, no link. It is not opened."""

        def judge(status: os.stat_result) -> Trouble | None:
            if not stat.S_ISREG(status.st_mode):
                return Trouble("is a link or no regular file", "name the file itself")
            if status.st_mode & 0o077:
                return Trouble(
                    f"has mode {status.st_mode & 0o777:04o}",
                    f"chmod 600 {path}, and change the secret if somebody may have read it",
                )
            return self._owner_trouble(status)

        return self._judged(code, what, path, judge, follow=False)

    def folder(self, code: str, what: str, path: Path, *, most: int, follow: bool) -> Finding:
        """Judge a folder that should have mode `most` or tighter; the agent makes an absent one."""

        def judge(status: os.stat_result) -> Trouble | None:
            if not stat.S_ISDIR(status.st_mode):
                return Trouble("is a link or no folder", f"move it away, or name another: {path}")
            if status.st_mode & 0o777 & ~most:
                state = "bad" if status.st_mode & 0o022 else "warn"
                return Trouble(
                    f"has mode {status.st_mode & 0o777:04o}", f"chmod {most:o} {path}", state
                )
            return self._owner_trouble(status)

        try:
            path.lstat()
        except FileNotFoundError:
            found = self._judged(code, what, _first_there(path), _folder_at_all)
            if found.state == "ok":
                return Finding(code, "ok", f"the {what} is not there yet; the agent makes it")
            return found
        except (OSError, ValueError):
            pass  # the look below says what it is
        return self._judged(code, what, path, judge, follow=follow)

    def _judged(
        self, code: str, what: str, path: Path, judge: Judge, *, follow: bool = True
    ) -> Finding:
        """Judge `path` itself, then every folder that leads to it."""
        try:
            path = path.absolute()
            status = path.stat() if follow else path.lstat()
            trouble = judge(status) or self._folders_trouble(path)
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            return Finding(code, "bad", f"the {what}: {reason.lower()}", f"put it at {path}")
        if trouble is None:
            verb = "change" if follow else "read or change"
            return Finding(code, "ok", f"nobody else can {verb} the {what}")
        return Finding(code, trouble.state, f"the {what} {trouble.words}", trouble.fix)

    def _folders_trouble(self, path: Path) -> Trouble | None:
        worst = None
        for folder in sorted({folder for step in _links(path) for folder in step.parents}):
            status = folder.stat()
            where = f"is below {str(folder)!r}, which"
            if status.st_uid not in (0, self.owner):
                return Trouble(f"{where} belongs to user {status.st_uid}", "move it elsewhere")
            if status.st_mode & stat.S_ISVTX:
                continue  # others may only add files there
            if status.st_mode & stat.S_IWOTH:
                return Trouble(f"{where} anybody may change", f"chmod o-w {folder}, or move it")
            if status.st_mode & stat.S_IWGRP and worst is None:
                words = f"{where} group {status.st_gid} may change"
                worst = Trouble(words, f"chmod g-w {folder}, unless you trust them", "warn")
        return worst

    def _owner_trouble(self, status: os.stat_result) -> Trouble | None:
        if status.st_uid in (0, self.owner):
            return None
        return Trouble(f"belongs to user {status.st_uid}", "chown it to the agent's user or root")


def _folder_at_all(status: os.stat_result) -> Trouble | None:
    if stat.S_ISDIR(status.st_mode):
        return None
    return Trouble("cannot be made: a file is in the way", "move it away, or name another folder")


def disk_finding(path: Path, mounts: str | None) -> Finding:
    """Does the disk under the journal's folder keep what is written? `mounts`: mountinfo."""
    kind = None if mounts is None else kind_of_disk(path, mounts)
    if kind is None:
        return Finding("D_JOURNAL_DISK", "skipped", "cannot tell what disk the journal is on")
    if kind in _VOLATILE:
        why = "is gone after a restart"
    elif kind in _LAYERED:
        why = "goes with the container"
    elif kind in _REMOTE:
        why = "may lose locks and flushed writes"
    else:
        return Finding("D_JOURNAL_DISK", "ok", f"the journal is on {kind}")
    return Finding(
        "D_JOURNAL_DISK",
        "warn",
        f"the journal is on {kind}, which {why}",
        "put 'state' on a local disk, in a container on a volume",
    )


def kind_of_disk(path: Path, mounts: str) -> str | None:
    """Return the file system's type at `path` by /proc/self/mountinfo (proc(5))."""
    try:
        real = _first_there(path).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    best, kind = -1, None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 9 or "-" not in fields[6:-1]:
            continue
        mounted = Path(_unescaped(fields[4]))
        depth = len(mounted.parts)
        if depth >= best and (real == mounted or mounted in real.parents):
            best, kind = depth, fields[fields.index("-", 6) + 1]
    return kind


def _unescaped(text: str) -> str:
    """Undo the kernel's octal escapes of blank, tab, newline and backslash."""
    for escape, letter in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(escape, letter)
    return text


def _links(path: Path) -> Iterator[Path]:
    """Yield `path`, each path that a link on the way names, and the real one."""
    yield path
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
        yield path
    yield path.resolve()


def _first_there(path: Path) -> Path:
    """Return the nearest of `path` and its parents that exists."""
    path = path.absolute()
    return next((step for step in (path, *path.parents) if _exists(step)), Path("/"))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
