"""Where to compute and how finely: CUDA or MPS when there, bf16 where the machine multiplies it natively.

Not here: threads, which are the process's own affair (OMP_NUM_THREADS). Invariant: bf16 is never emulated.
"""

import torch
from accelerate import Accelerator, PartialState


def make_accelerator() -> Accelerator:
    """An accelerator on the best device of this machine, in mixed precision where that is faster."""
    return Accelerator(mixed_precision="bf16" if has_bf16(best_device()) else "no")


def best_device() -> torch.device:
    """CUDA, MPS or the CPU, in this order."""
    return PartialState().device


def has_bf16(device: torch.device) -> bool:
    """Whether this device multiplies bf16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return False
