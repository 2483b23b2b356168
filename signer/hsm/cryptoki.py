"""The part of Cryptoki's C interface that goes past the wrapper: types, constants, return values.

PKCS#11 v2.40, base specification and mechanisms, with errata 01.
"""

import ctypes

from pkcs11 import exceptions

CKU_USER = 1
CKF_OS_LOCKING_OK = 2
OK = 0
ARGUMENTS_BAD = 0x07
ALREADY_INITIALIZED = 0x191
BUFFER_TOO_SMALL = 0x150
UNAVAILABLE = ctypes.c_ulong(-1).value  # CK_UNAVAILABLE_INFORMATION

Ulong, Pointer = ctypes.c_ulong, ctypes.c_void_p
LOGIN_ERRORS: dict[int, type[exceptions.PKCS11Error]] = {
    0x30: exceptions.DeviceError,
    0x32: exceptions.DeviceRemoved,
    0xA0: exceptions.PinIncorrect,
    0xA1: exceptions.PinInvalid,
    0xA2: exceptions.PinLenRange,
    0xA3: exceptions.PinExpired,
    0xA4: exceptions.PinLocked,
    0xB3: exceptions.SessionHandleInvalid,
    0xE0: exceptions.TokenNotPresent,
    0x100: exceptions.UserAlreadyLoggedIn,
    0x102: exceptions.UserPinNotInitialized,
    0x104: exceptions.AnotherUserAlreadyLoggedIn,
}
CRYPT_ERRORS: dict[int, type[exceptions.PKCS11Error]] = {
    0x05: exceptions.GeneralError,
    0x06: exceptions.FunctionFailed,
    0x07: exceptions.ArgumentsBad,
    0x20: exceptions.DataInvalid,
    0x21: exceptions.DataLenRange,
    0x30: exceptions.DeviceError,
    0x32: exceptions.DeviceRemoved,
    0x40: exceptions.EncryptedDataInvalid,
    0x41: exceptions.EncryptedDataLenRange,
    0x54: exceptions.FunctionNotSupported,
    0x60: exceptions.KeyHandleInvalid,
    0x62: exceptions.KeySizeRange,
    0x63: exceptions.KeyTypeInconsistent,
    0x70: exceptions.MechanismInvalid,
    0x71: exceptions.MechanismParamInvalid,
    0x90: exceptions.OperationActive,
    0xB3: exceptions.SessionHandleInvalid,
    0x101: exceptions.UserNotLoggedIn,
    BUFFER_TOO_SMALL: exceptions.DataLenRange,
}
# Of an operation that begins the only argument that can be bad is the mechanism's parameter.
BEGIN_ERRORS = CRYPT_ERRORS | {0x07: exceptions.MechanismParamInvalid}
RANDOM_ERRORS: dict[int, type[exceptions.PKCS11Error]] = {
    0x30: exceptions.DeviceError,
    0x32: exceptions.DeviceRemoved,
    0x54: exceptions.FunctionNotSupported,
    0x101: exceptions.UserNotLoggedIn,
    0x121: exceptions.RandomNoRNG,
    0xB3: exceptions.SessionHandleInvalid,
}


class InitializeArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS."""

    _fields_ = [
        ("mutex_functions", Pointer * 4),
        ("flags", Ulong),
        ("reserved", Pointer),
    ]


class ObjectAttribute(ctypes.Structure):
    """CK_ATTRIBUTE."""

    _fields_ = [("type", Ulong), ("value", Pointer), ("length", Ulong)]


class MechanismStruct(ctypes.Structure):
    """CK_MECHANISM."""

    _fields_ = [("mechanism", Ulong), ("parameter", Pointer), ("length", Ulong)]


class OaepParams(ctypes.Structure):
    """CK_RSA_PKCS_OAEP_PARAMS, PKCS#11 2.40 mechanisms 2.1.8. There is no label here."""

    _fields_ = [
        ("hash", Ulong),
        ("mgf", Ulong),
        ("source", Ulong),
        ("label", Pointer),
        ("label_length", Ulong),
    ]


class GcmParams(ctypes.Structure):
    """CK_GCM_PARAMS, PKCS#11 2.40 mechanisms 2.12.3, with the field that errata 01 put in."""

    _fields_ = [
        ("iv", ctypes.c_char_p),
        ("iv_length", Ulong),
        ("iv_bits", Ulong),
        ("aad", ctypes.c_char_p),
        ("aad_length", Ulong),
        ("tag_bits", Ulong),
    ]


CRYPT = ctypes.CFUNCTYPE(
    Ulong, Ulong, Pointer, Ulong, Pointer, ctypes.POINTER(Ulong)
)  # session, data, its length, result, its length


class FunctionList(ctypes.Structure):
    """The head of CK_FUNCTION_LIST, PKCS#11 2.40 section 3.6; the order is the interface."""

    _fields_ = [
        ("version", ctypes.c_ubyte * 2),
        ("C_Initialize", ctypes.CFUNCTYPE(Ulong, Pointer)),
        ("C_Finalize", ctypes.CFUNCTYPE(Ulong, Pointer)),
        ("other_2_to_17", Pointer * 16),
        ("C_Login", ctypes.CFUNCTYPE(Ulong, Ulong, Ulong, Pointer, Ulong)),
        ("C_Logout", ctypes.CFUNCTYPE(Ulong, Ulong)),
        ("other_20_to_23", Pointer * 4),
        (
            "C_GetAttributeValue",
            ctypes.CFUNCTYPE(Ulong, Ulong, Ulong, ctypes.POINTER(ObjectAttribute), Ulong),
        ),
        ("other_25_to_28", Pointer * 4),
        ("C_EncryptInit", ctypes.CFUNCTYPE(Ulong, Ulong, ctypes.POINTER(MechanismStruct), Ulong)),
        ("C_Encrypt", CRYPT),
        ("other_31_to_32", Pointer * 2),
        ("C_DecryptInit", ctypes.CFUNCTYPE(Ulong, Ulong, ctypes.POINTER(MechanismStruct), Ulong)),
        ("C_Decrypt", CRYPT),
        ("other_35_to_63", Pointer * 29),
        ("C_GenerateRandom", ctypes.CFUNCTYPE(Ulong, Ulong, Pointer, Ulong)),
    ]


def check(value: int, known: dict[int, type[exceptions.PKCS11Error]]) -> None:
    """Raise what a return value means, if it is not CKR_OK.

    Raises:
        PKCS11Error: the class of `known`, else the bare one with the value in its text.
    """
    if value != OK:
        raise known.get(value, exceptions.PKCS11Error)(f"return value {value:#x}")
