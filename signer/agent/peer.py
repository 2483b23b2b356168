"""Who is calling, by the kernel's word, and what he may ask for."""

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from signer.errors import DeniedError

_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_NOBODY = 65534  # the kernel's word for a uid of another user namespace


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a connection, as it was when it connected."""

    pid: int  # for logs only: pids are reused
    uid: int

    @classmethod
    def of(cls, connection: socket.socket) -> "Peer":
        """Return the peer of a connected unix socket (SO_PEERCRED)."""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        return cls(pid, uid)


def require(peer: Peer, method: str, allowed: Mapping[str, frozenset[int]]) -> None:
    """Let `peer` call `method` or not.

    Raises:
        DeniedError: code E_PEER.
    """
    if peer.pid == 0 or peer.uid == _NOBODY or peer.uid not in allowed.get(method, frozenset()):
        raise DeniedError(f"user {peer.uid} may not call {method} here", code="E_PEER")
