"""Which digests in a text do not say that they are only a rehearsal's."""

import re

_WHOLE = r"(?<!x)(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"  # a key begins with 0x
_GROUPS = r"\b[0-9a-f]{4}(?: [0-9a-f]{4}){3,}\b"
_DIGEST = re.compile(f"{_WHOLE}|{_GROUPS}")


def bare_digests(text: str) -> list[str]:
    """Return the digests in a text, whole or as fingerprints, without the word REHEARSAL."""
    return [
        match[0]
        for match in _DIGEST.finditer(text)
        if not text[: match.start()].endswith("REHEARSAL ")
    ]
