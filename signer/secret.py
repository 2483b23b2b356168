"""Bytes that do not print.

`SecretBytes` owns a buffer, shows nothing of it in `repr`, refuses every way by which Python copies
an object without being asked, and zeroes the buffer when its `with` block ends. `expose()` is the
one way in, so a reviewer finds every use of a secret by one word.

What it cannot do: reach copies that a library, the interpreter or the allocator made. That is why
secrets live in a worker process that exits (docs/adr/0002).
"""

import hmac
from types import TracebackType
from typing import NoReturn, Self


def wipe_buffer(buffer: bytearray) -> None:
    """Overwrite `buffer` with zeros in place."""
    if buffer:
        memoryview(buffer)[:] = bytes(len(buffer))


class Secret:
    """What every secret has in common: it does not print, is not copied, and ends with `with`."""

    __slots__ = ()

    def wipe(self) -> None:
        """Overwrite the secret with zeros; using it raises from now on."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<redacted>)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("a secret is not copied, hashed or serialised; expose it where it is used")

    __hash__ = None  # type: ignore[assignment]
    __bytes__ = _refuse
    __iter__ = _refuse
    __getitem__ = _refuse
    __reduce__ = _refuse
    __reduce_ex__ = _refuse
    __copy__ = _refuse
    __deepcopy__ = _refuse


class SecretBytes(Secret):
    """A secret of fixed length in a buffer of ours. Use it in a `with` block."""

    __slots__ = ("_buffer", "_wiped")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._buffer = bytearray(data)
        self._wiped = False

    @classmethod
    def take(cls, source: bytearray) -> Self:
        """Copy `source` and wipe it."""
        secret = cls(source)
        wipe_buffer(source)
        return secret

    @classmethod
    def zeros(cls, size: int) -> Self:
        """Return `size` zero bytes for a library to write a secret into."""
        return cls(bytes(size))

    def expose(self) -> memoryview:
        """Return a writable view of the secret itself. Keep it no longer than this secret.

        Raises:
            ValueError: the secret has been wiped.
        """
        if self._wiped:
            raise ValueError("secret used after it was wiped")
        return memoryview(self._buffer)

    def wipe(self) -> None:
        """Overwrite the buffer with zeros; `expose()` raises from now on."""
        wipe_buffer(self._buffer)
        self._wiped = True

    def __del__(self) -> None:
        if hasattr(self, "_wiped") and not self._wiped:
            self.wipe()

    def __len__(self) -> int:
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self.expose(), other.expose())

    __hash__ = None
