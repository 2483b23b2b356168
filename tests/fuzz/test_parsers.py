"""Seconds of what `make fuzz` does for minutes; and everything that it ever found, again."""

import pytest

from tests.fuzz.__main__ import CRASHERS, run
from tests.fuzz.targets import Target, targets


@pytest.mark.case("X471", "coverage-guided fuzzing of requests and journals")
@pytest.mark.parametrize("name", ["request", "journal"])
def test_a_few_seconds_find_nothing(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    done = run(name, 3, tmp_path_factory.mktemp("crashers"))
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    executed = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    assert int(executed[0].split()[-1]) > 200


@pytest.mark.parametrize("name", targets())
def test_true_inputs_are_taken(name: str) -> None:
    for seed in targets()[name].seeds:
        targets()[name].parse(seed)
        targets()[name].feed(seed)


@pytest.mark.case("F2", "each parser's true input, cut at every eighth, and with a byte changed")
@pytest.mark.parametrize("name", targets())
def test_cut_and_altered_inputs(name: str) -> None:
    target = targets()[name]
    for seed in target.seeds:
        for eighth in range(8):
            target.feed(seed[: len(seed) * eighth // 8])
        for place in range(0, len(seed), max(1, len(seed) // 60)):
            target.feed(seed[:place] + bytes([seed[place] ^ 0x11]) + seed[place + 1 :])


def test_a_parser_that_breaks_is_found() -> None:
    def broken(data: bytes) -> None:
        raise KeyError(data)

    with pytest.raises(KeyError):
        Target(broken, ()).feed(b"x")


def test_what_was_found_before_stays_mended() -> None:
    for file in CRASHERS.glob("*-*"):
        name = next(name for name in targets() if file.name.startswith(name.replace(" ", "-")))
        targets()[name].feed(file.read_bytes())
