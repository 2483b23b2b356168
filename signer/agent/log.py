"""Log lines: one JSON object each, fields by name. There is no way to log an object by accident."""

import contextlib
import json
import logging
import os
import stat
import sys
import time
from typing import TextIO

Value = str | int | float | bool | None


class EventLog:
    """Writes events to a stream; `event` names are stable, see docs/formats.md."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr

    def never_wait(self) -> None:
        """Let no reader of the log that stopped reading stop the agent: lines are dropped then."""
        with contextlib.suppress(OSError, ValueError):
            descriptor = self._stream.fileno()
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.set_blocking(descriptor, False)

    def write(self, event: str, **fields: Value) -> None:
        """Write one line. Values are plain; text from strangers comes out escaped."""
        record = {"ts": round(time.time(), 3), "event": event, **fields}
        try:
            self._stream.write(json.dumps(record, ensure_ascii=True) + "\n")
            self._stream.flush()
        except OSError:
            return  # a full log disk or pipe must not stop a signature or a refusal

    def take_over(self, *libraries: str) -> None:
        """Write what these libraries log as events too, each on one line and without a trace."""
        for name in libraries:
            logger = logging.getLogger(name)
            logger.handlers = [_Events(self)]
            logger.propagate = False


class _Events(logging.Handler):
    """Turns a library's log record into one event."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's place and kind; its text may be a stranger's."""
        kind = record.exc_info[0] if record.exc_info else None
        self._log.write(
            "library",
            logger=record.name,
            level=record.levelname,
            at=f"{record.funcName}:{record.lineno}",
            kind=None if kind is None else kind.__name__,
        )
