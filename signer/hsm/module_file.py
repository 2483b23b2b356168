"""Who could put another file in a module's place. Loading it runs it, beside PIN and share.

Files and folders must belong to root or to this user. A module that its group may write is refused
as well; a folder that its group may write is not, because Debian's /usr/local/lib is one.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from signer.hsm.library import refuse

_MOST_LINKS = 16


def require_unchangeable(path: Path) -> None:
    """Check that nobody but root and this user can change the module at the absolute `path`.

    Links are followed; the folder of each must hold as well, up to the root.

    Raises:
        ModuleError: somebody can, or the path is no file.
    """
    folders: set[Path] = set()
    try:
        status = path.stat()  # links in a circle end here
        for step in _links(path):
            folders.update(step.parents)
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            refuse(path, "others can change it", hint="chmod go-w, after a check of what is in it")
        if not _ours(status):
            refuse(path, "it belongs to another user, who can change it")
        for folder in folders:
            _require_folder(path, folder)
    except OSError as error:
        refuse(path, (error.strerror or type(error).__name__).lower())


def _links(path: Path) -> Iterator[Path]:
    """Yield `path`, each path that a link on the way names, and the real one."""
    yield path
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
        yield path
    yield path.resolve(strict=True)


def _require_folder(path: Path, folder: Path) -> None:
    status = folder.stat()
    anybody = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
    if anybody or not _ours(status):
        refuse(path, f"others can change its folder {str(folder)!r}", hint="move it, or chmod o-w")


def _ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())
