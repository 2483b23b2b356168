import ctypes
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from signer.bls import engine
from signer.bls.engine import Engine
from signer.errors import EngineError


def test_loads_once_and_binds_by_name() -> None:
    fresh = Engine()
    assert fresh.p2_sizeof() == 288
    assert fresh.p2_sizeof is fresh.__dict__["p2_sizeof"]


def test_a_function_that_is_not_bound_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        Engine().keygen_v3  # noqa: B018


@pytest.mark.case("X100", "ckzg is not installed")
def test_package_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError) as caught:
        Engine().load()
    assert "ckzg" in caught.value.message
    assert "pip install" in caught.value.hint


@pytest.mark.case("X101", "a ckzg that does not export blst's functions")
def test_symbols_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_find_library", lambda: None)  # the interpreter itself
    with pytest.raises(EngineError, match="does not export"):
        Engine().load()


@pytest.mark.case("X102", "a file that is no library")
def test_not_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_find_library", lambda: __file__)
    with pytest.raises(EngineError, match="cannot be loaded"):
        Engine().load()


def break_function(monkeypatch: pytest.MonkeyPatch, name: str, broken: Callable[..., Any]) -> None:
    bind = engine._bind

    def bind_and_break(path: str) -> dict[str, Callable[..., Any]]:
        return {**bind(path), name: broken}

    monkeypatch.setattr(engine, "_bind", bind_and_break)


@pytest.mark.case("X103", "a library with other struct sizes")
def test_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    break_function(monkeypatch, "p1_affine_sizeof", lambda: 104)
    with pytest.raises(EngineError, match="p1_affine_sizeof"):
        Engine().load()


@pytest.mark.case("X104", "a library that signs wrongly")
def test_wrong_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    break_function(monkeypatch, "sign_pk2_in_g1", lambda *_: None)
    with pytest.raises(EngineError, match="wrong signature"):
        Engine().load()


@pytest.mark.case(
    "X105", "a library whose multi-multiplication is wrong with infinity among inputs"
)
def test_wrong_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    multiply = engine.blst.p2s_mult_pippenger

    def first_only(out: Any, points: Any, count: int, scalars: Any, bits: int, room: Any) -> None:
        multiply(out, points, 1, scalars, bits, room)

    break_function(monkeypatch, "p2s_mult_pippenger", first_only)
    with pytest.raises(EngineError, match="adds points up wrongly"):
        Engine().load()


def test_nothing_is_bound_after_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Engine()
    break_function(monkeypatch, "fp12_sizeof", lambda: 0)
    for _ in range(2):
        with pytest.raises(EngineError):
            _ = fresh.p2_sizeof
    assert not fresh.__dict__


def test_long_calls_release_the_interpreter_lock_and_short_ones_keep_it() -> None:
    functions: dict[str, Any] = dict(engine._bind(engine._find_library()))
    keeps = ctypes.PyDLL(None)._FuncPtr._flags_
    assert functions["fr_add"]._flags_ == keeps
    assert functions["hash_to_g2"]._flags_ != keeps
