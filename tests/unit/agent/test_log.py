import errno
import io
import json
import logging

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
