"""Tokens step by step over expanded keys, on the device alone; the host reads them a step later.

A GPU that has to wait until the host has looked at a token does nothing meanwhile. Here it is given
the next step first. A row that has ended goes on for a step or two before that is seen, and what it
says there is dropped: `Rows` takes nothing from a row that has ended, and rows do not see each
other.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessorList, PreTrainedModel

from rlvr.prefix.attention import no_mask
from rlvr.sampling.engine import Draw, Rows
from rlvr.sampling.expanded import Expanded
from rlvr.sampling.graph import Recorder, Replay, capturable
from rlvr.sampling.prefill import inputs

LATE = 1  # steps between a token and the host's look at it
WORTH_A_GRAPH = 16  # steps: making a graph takes about three


class DecodingSteps:
    """The state of b rows in tensors that stay where they are until rows are dropped."""

    def __init__(
        self,
        model: PreTrainedModel,
        attention: Expanded,
        chain: LogitsProcessorList,
        draw: Draw,
        rows: Rows,
        prompts: Sequence[Sequence[int]],
        recorder: Recorder,
    ) -> None:
        self.model, self.attention, self.chain, self.draw = model, attention, chain, draw
        self.rows, self.recorder, device = rows, recorder, model.device
        self.places = list(range(len(prompts)))  # the row of each place in the batch
        self.seats = torch.tensor(self.places, device=device)  # the same, for the draws
        self.no_mask = no_mask(device)
        # For the repetition penalty, which must not see padding: a token of the row's own is none.
        width = attention.mask.shape[-1]
        padded = [[*prompt, *[prompt[0]] * (width - len(prompt))] for prompt in prompts]
        self.history = torch.tensor(padded, device=device)  # (b, slots)
        self.tokens = torch.zeros(len(prompts), 1, dtype=torch.long, device=device)
        self.positions = torch.tensor([[len(p) - 1] for p in prompts], device=device)  # (b, 1)
        self.drawn = torch.zeros(1, dtype=torch.long, device=device)  # tokens a row
        self.sent: deque[_Transfer] = deque()
        self.replay: Replay | None = None
        self.warm = False  # whether a step of these shapes has been run

    def run(self, logits: Tensor, max_new_tokens: int) -> None:
        """From the logits (b, V) that follow the prompts."""
        self._choose(logits)
        self._send()
        for left in reversed(range(1, max_new_tokens)):
            self._advance(left)
            self._send()
            if not self._receive(LATE):
                return
        self._receive(0)

    def _step(self) -> Tensor:
        """Logits (b, V) after the tokens, which are replaced by the next ones."""
        self.positions += 1
        given = inputs(self.tokens, self.positions, self.no_mask)
        logits: Tensor = self.model(**given, shared_prefix=self.attention).logits[:, -1]
        self.history.index_copy_(1, self.attention.slot, self.tokens)
        self._choose(logits)
        return logits

    def _choose(self, logits: Tensor) -> None:
        scores = self.chain(self.history, logits.float())
        self.tokens.copy_(self.draw(scores, self.seats, self.drawn)[:, None])
        self.drawn += 1

    def _advance(self, left: int) -> None:
        if self.replay is not None:
            self.replay()
        elif self.warm and self._is_worth_a_graph(left):
            state = self.tokens, self.positions, self.drawn, self.attention.slot
            self.replay = self.recorder.record(self._step, state)
        else:
            self._step()
            self.warm = True

    def _is_worth_a_graph(self, left: int) -> bool:
        return self.recorder.works and left >= WORTH_A_GRAPH and capturable(self.tokens.device)

    def _send(self) -> None:
        self.sent.append(_Transfer(self.tokens[:, 0], self.places))

    def _receive(self, late: int) -> bool:
        """Read all tokens but those of the last steps; whether there is a row that goes on."""
        while len(self.sent) > late:
            for row, token in self.sent.popleft().received():
                self.rows.add(row, token)
        going = [place for place, row in enumerate(self.places) if not self.rows.ended[row]]
        if 0 < len(going) <= len(self.places) // 2:
            self._keep(going)
        return bool(going)

    def _keep(self, going: list[int]) -> None:
        """Drop the rows that have ended: at every halving, since new shapes need a new graph."""
        at = torch.tensor(going, device=self.tokens.device)
        self.replay, self.warm = None, False
        self.attention.keep(at)
        self.places = [self.places[place] for place in going]
        self.seats, self.history = self.seats[at], self.history[at]
        self.tokens, self.positions = self.tokens[at], self.positions[at]


class _Transfer:
    """The tokens (b,) of a step on their way to the host, and the rows they belong to."""

    def __init__(self, tokens: Tensor, rows: list[int]) -> None:
        cuda = tokens.device.type == "cuda"
        self._rows = rows
        self._host = torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=cuda)
        self._host.copy_(tokens, non_blocking=True)
        self._arrived = torch.cuda.Event() if cuda else None
        if self._arrived is not None:
            self._arrived.record()

    def received(self) -> Iterator[tuple[int, int]]:
        if self._arrived is not None:
            self._arrived.synchronize()
        return zip(self._rows, self._host.tolist(), strict=True)
