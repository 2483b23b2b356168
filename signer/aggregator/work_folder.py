"""Replies kept on disk, so that a signing can be resumed days later (`--work DIR`)."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from signer.errors import InputError
from signer.files import make_folder, read_file, require_place, write_new
from signer.messages.reply import MAX_BYTES as MAX_REPLY_BYTES
from signer.messages.reply import SignReply
from signer.messages.request import SignRequest


class WorkFolder:
    """The replies to one request. A folder serves one request only."""

    def __init__(self, path: Path, request: SignRequest) -> None:
        """Open `path` for `request`, or begin it.

        Raises:
            InputError: the folder is another request's.
            OutputError: it cannot be made.
        """
        self._path = path
        self._request = request
        require_place(path)
        make_folder(path, mode=0o700)
        mark = path / "request.digest"
        wanted = request.digest.hex().encode() + b"\n"
        if not mark.exists():
            write_new(mark, wanted, mode=0o600)
        elif read_file(mark, what="work file", max_bytes=128) != wanted:
            raise InputError(
                f"work folder {str(path)!r} holds replies to another request",
                hint="name another --work folder",
            )

    def replies(self) -> Iterator[tuple[str, SignReply]]:
        """Yield the replies kept, each with the source it came from, in the files' order.

        Raises:
            SchemaError: a file there is no reply to this request.
        """
        for path in sorted(self._path.glob("reply-*.json")):
            raw = read_file(path, what="reply", max_bytes=MAX_REPLY_BYTES)
            reply = SignReply.parse(raw, self._request, f"reply {str(path)!r}")
            yield f"{self._source_of(path)} (kept in {path.name})", reply

    def keep(self, reply: SignReply, source: str) -> None:
        """Keep a reply and where it came from; the same one twice is kept once."""
        raw = reply.to_bytes()
        name = f"reply-{int(reply.index):03d}-{hashlib.sha256(raw).hexdigest()[:8]}.json"
        if not (self._path / name).exists():
            write_new(self._path / name, raw, mode=0o600)
            write_new((self._path / name).with_suffix(".source"), source.encode(), mode=0o600)

    def _source_of(self, path: Path) -> str:
        note = path.with_suffix(".source")
        if not note.exists():
            return "unknown"
        raw = read_file(note, what="work file", max_bytes=8192)
        return raw.decode("utf-8", "replace")
