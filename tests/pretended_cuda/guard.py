"""What a torch without CUDA needs to run the backward pass of tensors that say `cuda`.

Both parts lean on the ABI of one torch release: `unavailable` says where they cannot be had.
"""

import atexit
import ctypes
import platform
from importlib.metadata import version
from pathlib import Path

KNOWN = "2.13.0+cpu"  # of torch
# Virtual methods of at::CUDAHooksInterface, in order of declaration.
METHODS, IS_BUILT, HAS_PRIMARY_CONTEXT = 46, 2, 4
CUDA = 1  # c10::DeviceType
KEPT: list[object] = []  # what C++ holds pointers to


def unavailable() -> str | None:
    """Why there is no pretended device here; None where there is one."""
    installed = version("torch")
    if installed == KNOWN and platform.system() == "Linux":
        return None
    return f"the pretended device is made for torch {KNOWN} on Linux, not {installed}"


def install() -> None:
    """Before the first backward pass, which makes a thread for each device that it knows of."""
    import torch

    libraries = Path(torch.__file__).parent / "lib"
    c10, cpu = (ctypes.CDLL(str(libraries / f"lib{name}.so")) for name in ("c10", "torch_cpu"))
    _register_guard(c10)
    _believe_in_cuda(cpu)


def _register_guard(c10: ctypes.CDLL) -> None:
    """A guard whose every method returns 0 has no devices; torch's own no-op guard, made for
    FakeTensorMode, takes the place of such a one."""
    import torch

    zero = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0)
    methods = (ctypes.c_void_p * 64)(*[ctypes.cast(zero, ctypes.c_void_p)] * 64)
    guard = (ctypes.c_void_p * 1)(ctypes.addressof(methods))
    name = "_ZN3c104impl19registerDeviceGuardENS_10DeviceTypeEPKNS0_24DeviceGuardImplInterfaceE"
    getattr(c10, name)(ctypes.c_byte(CUDA), ctypes.c_void_p(ctypes.addressof(guard)))
    torch._C._ensureCUDADeviceGuardSet()
    KEPT.extend([zero, methods, guard])


def _believe_in_cuda(cpu: ctypes.CDLL) -> None:
    """The autograd engine asks the hooks of CUDA which accelerator was built in."""
    cpu._ZN2at6detail12getCUDAHooksEv.restype = ctypes.c_void_p
    hooks = ctypes.cast(cpu._ZN2at6detail12getCUDAHooksEv(), ctypes.POINTER(ctypes.c_void_p))
    own = ctypes.cast(hooks[0], ctypes.POINTER(ctypes.c_void_p))
    methods = (ctypes.c_void_p * METHODS)(*[own[i] for i in range(METHODS)])
    answer = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)
    yes, no = answer(lambda this: True), answer(lambda this: False)
    methods[IS_BUILT] = ctypes.cast(yes, ctypes.c_void_p).value
    methods[HAS_PRIMARY_CONTEXT] = ctypes.cast(no, ctypes.c_void_p).value
    atexit.register(hooks.__setitem__, 0, hooks[0])  # callbacks end with the interpreter
    hooks[0] = ctypes.addressof(methods)
    KEPT.extend([methods, yes, no])
