"""Log lines: one JSON object each, fields by name. There is no way to log an object by accident."""

import json
import sys
import time
from typing import TextIO

Value = str | int | float | bool | None


class EventLog:
    """Writes events to a stream; `event` names are stable, see docs/formats.md."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr

    def write(self, event: str, **fields: Value) -> None:
        """Write one line. Values are plain; text from strangers comes out escaped."""
        record = {"ts": round(time.time(), 3), "event": event, **fields}
        try:
            self._stream.write(json.dumps(record, ensure_ascii=True) + "\n")
            self._stream.flush()
        except OSError:
            return  # a full log disk must not stop a signature or a refusal
