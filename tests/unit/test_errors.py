import pytest

from signer.errors import (
    BadPartialsError,
    DeniedError,
    PinError,
    SignerError,
    ThresholdError,
    WorkerError,
    revive,
)


def every(kind: type[SignerError] = SignerError) -> list[type[SignerError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in every(child))]


@pytest.mark.parametrize("kind", [kind for kind in every() if not issubclass(kind, ThresholdError)])
def test_an_error_comes_back_from_another_process_as_it_was(kind: type[SignerError]) -> None:
    raised = kind("what was wrong", hint="what to do", code="E_SOME")
    again = revive(kind.__name__, raised.message, raised.hint, raised.code)
    assert type(again) is kind
    assert (again.message, again.hint, again.code) == ("what was wrong", "what to do", "E_SOME")
    assert again.exit_status == kind.exit_status


@pytest.mark.parametrize("name", ["KeyError", "object", "", "BadPartialsError", "__class__"])
def test_what_is_not_of_the_tree_comes_back_as_the_workers(name: str) -> None:
    assert type(revive(name, "m", "", "E_X")) is WorkerError


def test_one_line() -> None:
    assert PinError("no", hint="do").line() == "E_PIN: no — do"
    assert DeniedError("no", code="E_ROLE").line() == "E_ROLE: no"
    error = BadPartialsError("m", have=1, need=2, culprits=((3, "E_X"),))
    assert (error.have, error.need, error.culprits, error.exit_status) == (1, 2, ((3, "E_X"),), 5)
