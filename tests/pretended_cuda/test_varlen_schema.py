"""What our calls of FlashAttention give and get, by torch's own description of the CUDA kernels."""

from dataclasses import replace

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from rlvr.prefix import levels
from rlvr.prefix.levels import calls_of
from rlvr.prefix.trie import TokenRow, pack

ABOVE, HEADS, SHARED, SIZE = 5, 14, 2, 64
TEXTS = ([2, 3, 5, 7, 11], [2, 3, 5, 8], [2, 3, 6])


def test_the_real_operations_take_our_arguments(no_cuda):
    """Shapes and types alone."""
    rows = [TokenRow(i, np.array(t), np.array(t), np.arange(1)) for i, t in enumerate(TEXTS)]
    packed = pack(rows)
    calls = calls_of(packed, torch.device("cpu"), ABOVE)
    assert len(calls) == 4
    with FakeTensorMode(), torch.no_grad():
        there = [fake(call) for call in calls]
        q, k, v = (
            torch.empty(n + len(packed), heads, SIZE, dtype=torch.bfloat16, device="cuda")
            for heads, n in ((HEADS, 0), (SHARED, ABOVE), (SHARED, ABOVE))
        )
        out, lse = levels._merged(q, k, v, there, 0.3, levels._kernel)
        assert (out.shape, out.dtype, out.device.type) == (q.shape, torch.bfloat16, "cuda")
        assert (lse.shape, lse.dtype) == ((HEADS, len(packed)), torch.float32)
        gradients = levels._gradients(out, q, k, v, out, lse, there, 0.3)
    for gradient, tensor in zip(gradients, (q, k, v), strict=True):
        assert (gradient.shape, gradient.dtype) == (tensor.shape, torch.bfloat16)


def fake(call):
    fields = {"queries": call.queries, "keys": call.keys}
    fields |= {"ends_q": call.ends_q, "ends_k": call.ends_k}
    moved = {
        name: torch.empty(x.shape, dtype=x.dtype, device="cuda")
        for name, x in fields.items()
        if isinstance(x, torch.Tensor)
    }
    return replace(call, **moved)
