"""A CUDA device without one: what can be tested of the CUDA path on a CPU.

Tensors say `cuda:0` and hold their values on the CPU, so numbers are real. Operands on two devices
are an error, as there, and what a GPU would be asked to do is recorded, with the line of ours that
asked: kernels, copies from pageable memory, and what the host has to wait for.

Not real: kernels that exist on CUDA alone (`kernels.py` emulates them), which one sdpa takes,
Triton, streams, and time. Safetensors cannot read such tensors.

A test in this folder gets the fixture `cuda`, the record, and runs in a process of its file's own,
which `conftest.py` starts: torch's CUDA hooks are exchanged there, which no other test should see.
"""
