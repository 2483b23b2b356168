import errno
import io
import json
import logging
import os
import select

import pytest

from signer.agent.log import EventLog


def test_an_event_is_one_line_of_ascii() -> None:
    stream = io.StringIO()
    EventLog(stream).write("refused", path="/\x1b[2J\n\u202e", code=None, seconds=0.5)
    assert stream.getvalue().count("\n") == 1
    assert all(" " <= letter <= "~" for letter in stream.getvalue()[:-1])
    event = json.loads(stream.getvalue())
    assert event.pop("ts") > 0
    assert event == {"event": "refused", "path": "/\x1b[2J\n\u202e", "code": None, "seconds": 0.5}


@pytest.mark.case("F21", "a full disk under the log: nothing stops")
def test_a_full_log_stops_nothing() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "full")

    EventLog(Full()).write("signed")


def test_what_libraries_say_is_an_event_without_their_text() -> None:
    stream = io.StringIO()
    log = EventLog(stream)
    log.take_over("signer-test-library")
    log.take_over("signer-test-library")  # a second agent in one process writes once all the same
    library = logging.getLogger("signer-test-library")
    library.info("not worth a line")
    try:
        raise KeyError("PIN 1234")
    except KeyError:
        library.exception("trouble with %s", "\x1b[2J 1234")
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["kind"]) == ("library", "ERROR", "KeyError")
    assert "1234" not in line


def test_a_reader_that_stopped_reading_stops_nobody() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb"), os.fdopen(write_end, "w", errors="replace") as stream:
        log = EventLog(stream)
        log.never_wait()
        for number in range(5000):  # some 300 KB; a pipe holds 64
            log.write("refused", path="/v1/sign", number=number)
        os.set_blocking(read_end, False)
        while os.read(read_end, 1 << 16):  # room again, so that closing has nobody to wait for
            if not _readable(read_end):
                break


def _readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
