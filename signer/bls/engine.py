"""blst's C functions, found in the `ckzg` wheel and called through ctypes.

The wheel links blst 0.3.16 and exports its whole C interface, but nobody promised that it always
will: every symbol, every size and two known answers are checked before the first use, and a broken
installation stops with `EngineError`. Why this library and not another: docs/adr.

Conventions of this room. A point in affine form is 96 (G1) or 192 (G2) bytes in blst's own layout,
immutable, so it can be joined into the contiguous arrays that blst takes. Secrets are no `bytes`:
they live in ctypes buffers that are wiped. C code takes no lengths: whoever calls it checks them.
"""

import ctypes
import importlib.util
from collections.abc import Callable
from typing import Any

from signer.errors import EngineError

# r, the order of both groups (draft-irtf-cfrg-pairing-friendly-curves, BLS12-381)
GROUP_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
SCALAR_SIZE = 32
P1_SIZE, P1_AFFINE_SIZE = 144, 96
P2_SIZE, P2_AFFINE_SIZE = 288, 192
FP12_SIZE = 576

_HINT = "reinstall: pip install --force-reinstall 'ckzg>=2.1.7,<2.2'"

_POINTER, _SIZE, _BOOL, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_bool, ctypes.c_int

# name: result, arguments. Two tables: a call of some µs and more lets other threads run, a shorter
# one keeps the interpreter lock, since handing it over would cost more than the call.
_LONG_CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "hash_to_g2": (None, (_POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _POINTER, _SIZE)),
    "sign_pk2_in_g1": (None, (_POINTER, _POINTER, _POINTER, _POINTER)),
    "sk_to_pk2_in_g1": (None, (_POINTER, _POINTER, _POINTER)),
    "p1_uncompress": (_INT, (_POINTER, _POINTER)),
    "p2_uncompress": (_INT, (_POINTER, _POINTER)),
    "p1_affine_in_g1": (_BOOL, (_POINTER,)),
    "p2_affine_in_g2": (_BOOL, (_POINTER,)),
    "p1_mult": (None, (_POINTER, _POINTER, _POINTER, _SIZE)),
    "p2_mult": (None, (_POINTER, _POINTER, _POINTER, _SIZE)),
    "p2s_to_affine": (None, (_POINTER, _POINTER, _SIZE)),
    "p1s_add": (None, (_POINTER, _POINTER, _SIZE)),
    "p1s_mult_pippenger": (None, (_POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _POINTER)),
    "p2s_mult_pippenger": (None, (_POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _POINTER)),
    "miller_loop_n": (None, (_POINTER, _POINTER, _POINTER, _SIZE)),
    "final_exp": (None, (_POINTER, _POINTER)),
    "derive_master_eip2333": (None, (_POINTER, _POINTER, _SIZE)),
    "derive_child_eip2333": (None, (_POINTER, _POINTER, ctypes.c_uint32)),
}
_SHORT_CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "scalar_from_bendian": (None, (_POINTER, _POINTER)),
    "bendian_from_scalar": (None, (_POINTER, _POINTER)),
    "scalar_from_be_bytes": (_BOOL, (_POINTER, _POINTER, _SIZE)),
    "scalar_from_fr": (None, (_POINTER, _POINTER)),
    "sk_check": (_BOOL, (_POINTER,)),
    "fr_from_scalar": (None, (_POINTER, _POINTER)),
    "fr_from_uint64": (None, (_POINTER, _POINTER)),
    "fr_add": (None, (_POINTER, _POINTER, _POINTER)),
    "fr_sub": (None, (_POINTER, _POINTER, _POINTER)),
    "fr_mul": (None, (_POINTER, _POINTER, _POINTER)),
    "fp2_cneg": (None, (_POINTER, _POINTER, _BOOL)),
    "fp12_is_one": (_BOOL, (_POINTER,)),
    "p1_affine_generator": (_POINTER, ()),
    "p2_affine_generator": (_POINTER, ()),
    "p1_affine_is_inf": (_BOOL, (_POINTER,)),
    "p1_affine_compress": (None, (_POINTER, _POINTER)),
    "p2_affine_compress": (None, (_POINTER, _POINTER)),
    "p1_from_affine": (None, (_POINTER, _POINTER)),
    "p2_from_affine": (None, (_POINTER, _POINTER)),
    "p1_to_affine": (None, (_POINTER, _POINTER)),
    "p2_to_affine": (None, (_POINTER, _POINTER)),
    "p1_is_inf": (_BOOL, (_POINTER,)),
    "p2_is_inf": (_BOOL, (_POINTER,)),
    "p1_cneg": (None, (_POINTER, _BOOL)),
    "p1_add_or_double_affine": (None, (_POINTER, _POINTER, _POINTER)),
    "p1s_mult_pippenger_scratch_sizeof": (_SIZE, (_SIZE,)),
    "p2s_mult_pippenger_scratch_sizeof": (_SIZE, (_SIZE,)),
    "p1_sizeof": (_SIZE, ()),
    "p1_affine_sizeof": (_SIZE, ()),
    "p2_sizeof": (_SIZE, ()),
    "p2_affine_sizeof": (_SIZE, ()),
    "fp12_sizeof": (_SIZE, ()),
}


class Engine:
    """blst's functions by their names without `blst_`; loaded and checked at the first use.

    Attribute access raises `EngineError` when the installation is broken.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in _LONG_CALLS and name not in _SHORT_CALLS:
            raise AttributeError(f"blst_{name} is not bound")
        self.load()
        function: Callable[..., Any] = self.__dict__[name]
        return function

    def load(self) -> None:
        """Bind every function and try the library.

        Raises:
            EngineError: the library is absent, is another one, or computes something wrong.
        """
        functions = _bind(_find_library())
        _check_sizes(functions)
        _check_known_answers(functions)
        self.__dict__.update(functions)


def _find_library() -> str:
    spec = importlib.util.find_spec("ckzg")
    if spec is None or spec.origin is None:
        raise EngineError("the package ckzg, which holds the BLS library, is missing", hint=_HINT)
    return spec.origin


def _bind(path: str) -> dict[str, Callable[..., Any]]:
    functions: dict[str, Callable[..., Any]] = {}
    try:
        for library, calls in (
            (ctypes.CDLL(path), _LONG_CALLS),
            (ctypes.PyDLL(path), _SHORT_CALLS),
        ):
            for name, (result, arguments) in calls.items():
                function = getattr(library, f"blst_{name}")
                function.restype, function.argtypes = result, arguments
                functions[name] = function
    except OSError:
        raise EngineError("the BLS library of ckzg cannot be loaded", hint=_HINT) from None
    except AttributeError:
        raise EngineError("this build of ckzg does not export blst", hint=_HINT) from None
    return functions


def _check_sizes(functions: dict[str, Callable[..., Any]]) -> None:
    expected = {
        "p1_sizeof": P1_SIZE,
        "p1_affine_sizeof": P1_AFFINE_SIZE,
        "p2_sizeof": P2_SIZE,
        "p2_affine_sizeof": P2_AFFINE_SIZE,
        "fp12_sizeof": FP12_SIZE,
    }
    for name, size in expected.items():
        if functions[name]() != size:
            raise EngineError(f"blst_{name} is not {size}: another library", hint=_HINT)


# ethereum/bls12-381-tests, sign_case_11b8c7cad5238946; a published test key.
_TEST_KEY = bytes.fromhex("47b8192d77bf871b62e87859d653922725724a5c031afeabc60bcef5ff665138")
_TEST_DST = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
_TEST_SIGNATURE = bytes.fromhex(
    "b23c46be3a001c63ca711f87a005c200cc550b9429d5f4eb38d74322144f1b63"
    "926da3388979e5321012fb1a0526bcd100b5ef5fe72628ce4cd5e904aeaa3279"
    "527843fae5ca9ca675f4f51ed8f83bbf7155da9ecc9663100a885d5dc6df96d9"
)
_SEVEN_TIMES_G2 = bytes.fromhex(
    "8d0273f6bf31ed37c3b8d68083ec3d8e20b5f2cc170fa24b9b5be35b34ed013f"
    "9a921f1cad1644d4bdb14674247234c8049cd1dbb2d2c3581e54c088135fef36"
    "505a6823d61b859437bfc79b617030dc8b40e32bad1fa85b9c0f368af6d38d3c"
)


def _check_known_answers(functions: dict[str, Callable[..., Any]]) -> None:
    """One signature, and 2·G + 3·infinity + 5·G, which ckzg up to 2.1.5 gets wrong."""
    key = ctypes.create_string_buffer(SCALAR_SIZE)
    point = ctypes.create_string_buffer(P2_SIZE)
    affine = ctypes.create_string_buffer(P2_AFFINE_SIZE)
    encoded = ctypes.create_string_buffer(96)
    functions["scalar_from_bendian"](key, _TEST_KEY)
    functions["hash_to_g2"](point, bytes(32), 32, _TEST_DST, len(_TEST_DST), None, 0)
    functions["sign_pk2_in_g1"](None, affine, point, key)
    functions["p2_affine_compress"](encoded, affine)
    if encoded.raw != _TEST_SIGNATURE:
        raise EngineError("the BLS library makes a wrong signature", hint=_HINT)
    generator = ctypes.string_at(functions["p2_affine_generator"](), P2_AFFINE_SIZE)
    points = (ctypes.c_char_p * 2)(generator + bytes(P2_AFFINE_SIZE) + generator, None)
    scalars = (ctypes.c_char_p * 2)(bytes([2, 3, 5]), None)
    scratch = ctypes.create_string_buffer(functions["p2s_mult_pippenger_scratch_sizeof"](3))
    functions["p2s_mult_pippenger"](point, points, 3, scalars, 8, scratch)
    functions["p2_to_affine"](affine, point)
    functions["p2_affine_compress"](encoded, affine)
    if encoded.raw != _SEVEN_TIMES_G2:
        raise EngineError("the BLS library adds points up wrongly", hint=_HINT)


blst = Engine()
