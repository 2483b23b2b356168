"""New SoftHSM tokens in a millisecond: copies of one that was initialised, renamed.

Label and serial stand in a token's files as plain bytes; PINs stay those of the pattern. The copies
share the pattern's inner key, so they protect even less than SoftHSM does. Keys are each one's own.
"""

import shutil
import uuid
from pathlib import Path

from signer.testing.softhsm import USER_PIN, SoftHSM

_LABEL_BYTES = 32  # CK_TOKEN_INFO.label, padded with blanks
_PATTERN_LABEL = "pattern of the mint".ljust(_LABEL_BYTES, ".")
_OBJECT = "token.object"


class TokenMint:
    """Makes tokens after one pattern in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Initialise the pattern in the new `folder`.

        Raises:
            ModuleError: SoftHSM is not installed.
        """
        pattern = SoftHSM.create(folder, _PATTERN_LABEL)
        (self._files,) = pattern.tokens.iterdir()
        self._object = (self._files / _OBJECT).read_bytes()
        self._old_serial = _serial_of(self._files.name)
        # Another version of SoftHSM may lay its files out in another way.
        self._known = all(
            self._object.count(part) == 1 for part in (_PATTERN_LABEL.encode(), self._old_serial)
        )

    def token(self, folder: Path, label: str) -> SoftHSM:
        """Make the new `folder` with one initialised token; its user PIN is `USER_PIN`."""
        plain = label.encode()
        if not 1 <= len(plain) <= _LABEL_BYTES:
            raise ValueError(f"a token's label has 1 to {_LABEL_BYTES} bytes")
        if not self._known:
            return SoftHSM.create(folder, label)
        token = SoftHSM(folder, label)
        token.lay(USER_PIN)
        name = str(uuid.uuid4())
        shutil.copytree(self._files, token.tokens / name)
        content = self._object.replace(self._old_serial, _serial_of(name))
        content = content.replace(_PATTERN_LABEL.encode(), plain.ljust(_LABEL_BYTES))
        (token.tokens / name / _OBJECT).write_bytes(content)
        return token


def _serial_of(folder: str) -> bytes:
    """Return the serial that SoftHSM gives the token in `folder`: the end of its UUID."""
    return folder.replace("-", "")[-16:].encode()
