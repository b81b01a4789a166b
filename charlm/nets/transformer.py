"""The Transformer. Dimension key: B names, L positions, T = block_size, C = n_embd, N = n_head, D = C / N, V."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.nets.parts.dropout import Dropout
from charlm.nets.parts.fast_attention import attention
from charlm.nets.parts.packing import Packing
from charlm.nets.parts.sizes import check_dropout, check_sizes
from charlm.tokenizer import LONGEST_NAME

State = tuple[Tensor, ...]
_STD = 0.02


class Attention(nn.Module):
    """Each position looks back at itself and the positions before it, with several heads."""

    def __init__(self, n_embd: int, n_head: int, dropout: float) -> None:
        super().__init__()
        self.n_head = n_head
        self.dropout = dropout
        self.query_key_value = nn.Linear(n_embd, 3 * n_embd)
        self.output = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor, packing: Packing | None = None) -> Tensor:
        """Gather from the positions up to each one.

        Args:
            x: float (B, L, C); with `packing` (S, C).
            packing: in training, where the S positions of the names are in the batch.

        Returns:
            float, shaped like `x`.
        """
        parts = self.query_key_value(x)
        if packing is not None:
            return self.output(attention(parts, packing, self.n_head, self.dropout))
        query, key, value = parts.unflatten(2, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4)  # each (B, N, L, D)
        dropout = self.dropout if self.training else 0.0
        gathered = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return self.output(gathered.transpose(1, 2).flatten(2))

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Gather from the positions before and its own, without dropout.

        The names are the last dimension, so that numbers of one kind are neighbours in memory: a third of the
        time of torch's attention, which is made for many queries at once.

        Args:
            x: float (B, C).
            past: keys and values (P * 2C, B) of the P positions before.

        Returns:
            gathered: float (B, C).
            present: the same as `past`, of P + 1 positions.
        """
        C, B = x.shape[1], len(x)
        parts = self.query_key_value(x).t().contiguous()  # (3C, B)
        present = torch.cat([past, parts[C:]])
        P = len(past) // (2 * C)
        key, value = present.view(P + 1, 2, self.n_head, C // self.n_head, B).unbind(1)  # each (P + 1, N, D, B)
        scores = (key * parts[:C].view(key.shape[1:])).sum(2) * key.shape[2] ** -0.5  # (P + 1, N, B)
        gathered = (value * scores.softmax(0)[:, :, None]).sum(0)
        return self.output(gathered.view(C, B).t()), present


class Block(nn.Module):
    """Attention and a layer of its own for each position, both added to what passes through (pre-norm)."""

    def __init__(self, n_embd: int, n_head: int, dropout: float) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(n_embd)
        self.attention = Attention(n_embd, n_head, dropout)
        self.norm_2 = nn.LayerNorm(n_embd)
        self.hidden = nn.Linear(n_embd, 4 * n_embd)
        self.gelu = nn.GELU()
        self.output = nn.Linear(4 * n_embd, n_embd)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, packing: Packing | None = None) -> Tensor:
        """Arguments and result as for `Attention`."""
        return self._after(x, self.attention(self.norm_1(x), packing))

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Arguments and results as for `Attention.step`."""
        gathered, present = self.attention.step(self.norm_1(x), past)
        return self._after(x, gathered), present

    def _after(self, x: Tensor, gathered: Tensor) -> Tensor:
        x = x + self.dropout(gathered)
        return x + self.dropout(self.output(self.gelu(self.hidden(self.norm_2(x)))))


class Transformer(nn.Module):
    """A decoder of the shape of GPT-2: pre-norm blocks of causal attention and GELU, learned positions.

    Args:
        vocab_size: V, the characters and the start/end token.
        block_size: T, positions: one more than the longest name, for the start token.
        n_layer: blocks.
        n_head: N, heads of each block's attention; they share the C numbers, so N divides C.
        n_embd: C, numbers per character, and the width of the blocks.
        dropout: share of what is dropped in training: attention weights, what each layer adds, the embedding.
        n_labels: K, labels that may begin a name in place of the start token; their ids follow the characters'.

    Raises:
        ValueError: a size below 1, heads that do not divide `n_embd`, or `dropout` outside [0, 1).

    Source: Vaswani et al. 2017, NeurIPS, "Attention Is All You Need"; Radford et al. 2019, "Language Models are
        Unsupervised Multitask Learners", for the shape and the first weights.
    """

    takes = "names"

    def __init__(
        self,
        vocab_size: int = 27,
        block_size: int = LONGEST_NAME + 1,
        n_layer: int = 4,
        n_head: int = 4,
        n_embd: int = 64,
        dropout: float = 0.0,
        n_labels: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(vocab_size=vocab_size, block_size=block_size, n_layer=n_layer, n_head=n_head, n_embd=n_embd)
        check_dropout(dropout)
        if n_embd % n_head:
            raise ValueError(f"`n_embd` is {n_embd} and `n_head` is {n_head}; `n_embd` must be a multiple of `n_head`")
        self.block_size = block_size
        self.embedding = nn.Embedding(vocab_size + n_labels, n_embd)
        self.positions = nn.Embedding(block_size, n_embd)
        self.dropout = Dropout(dropout)
        blocks = [Block(n_embd, n_head, dropout) for _ in range(n_layer)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(n_embd)
        self.output = nn.Linear(n_embd, vocab_size, bias=False)
        self._init_weights(blocks)

    def forward(self, names: Tensor) -> Tensor:
        """Logits float32 (B, L, V) for the character after each of `names`, int64 (B, L), which begin with token 0.

        In training on the CPU the padding of names that come longest first is left out, which saves a quarter of the
        time; its logits are 0. On a GPU, finding the padding would make the step wait for the device.
        """
        packing = Packing(names) if self.training and names.device.type == "cpu" else None
        x = self.embedding(names) + self.positions.weight[: names.shape[1]]
        x = self.dropout(x if packing is None else packing.pack(x))
        for block in self.blocks:
            x = block(x, packing)
        logits = self.output(self.norm(x))
        return logits if packing is None else packing.pad(logits)

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits after one more character of every name.

        Args:
            ids: int64 (B,); token 0 in the first call.
            state: as the last call returned it; None in the first call.

        Returns:
            logits: float32 (B, V).
            state: each block's keys and values (L * 2C, B) of the L characters so far.
        """
        C = self.positions.embedding_dim
        past = state or (self.positions.weight.new_empty(0, len(ids)),) * len(self.blocks)
        x, after = self.dropout(self.embedding(ids) + self.positions.weight[len(past[0]) // (2 * C)]), list[Tensor]()
        for block, before in zip(self.blocks, past, strict=True):
            x, present = block.step(x, before)  # type: ignore[operator]  # nn.ModuleList hides what a block is
            after.append(present)
        return self.output(self.norm(x)), tuple(after)

    @torch.no_grad()
    def _init_weights(self, blocks: list[Block]) -> None:
        """As in GPT-2: normal with 0.02, and smaller where a layer adds to the residual stream, by 1 / sqrt(layers)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for block in blocks:
            for adding in (block.attention.output, block.output):
                nn.init.normal_(adding.weight, std=_STD / (2 * len(blocks)) ** 0.5)
