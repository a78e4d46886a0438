"""Two processes on gloo with torch's own FSDP2. Through accelerate it does not run on a CPU."""

import copy

import torch
import torch.multiprocessing
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from rlvr.training.fsdp2 import gathered


def work(rank, folder, model):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    ids = torch.arange(12).reshape(2, 6) + rank
    expected = copy.deepcopy(model)(ids).logits
    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    with torch.no_grad(), gathered(model):
        for _ in range(1 + 2 * rank):  # ranks need not call equally often
            assert torch.equal(model(ids).logits, expected)
    assert all(isinstance(p, DTensor) for p in model.parameters()), "sharded again"
    loss = model(ids, labels=ids).loss
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    (folder / f"done_{rank}").touch()
    torch.distributed.destroy_process_group()


def test_ranks_sample_as_often_as_they_like_and_train_on(random_model, tmp_path):
    torch.multiprocessing.start_processes(
        work, (tmp_path, random_model), nprocs=2, start_method="fork"
    )
    assert len(list(tmp_path.glob("done_*"))) == 2


def test_a_model_without_shards_is_left_alone(random_model):
    with gathered(random_model):
        assert all(type(p) is torch.nn.Parameter for p in random_model.parameters())
