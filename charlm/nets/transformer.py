"""The Transformer. Dimension key: B names, L positions, T = block_size, C = n_embd, N = n_head, D = C / N, V."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.nets.parts.dropout import Dropout
from charlm.nets.parts.packing import inside_names
from charlm.nets.parts.sizes import check_dropout, check_sizes
from charlm.tokenizer import LONGEST_NAME

State = tuple[Tensor, ...]
_STD = 0.02  # of the first weights, as in GPT-2


class Attention(nn.Module):
    """Each position looks back at itself and those before it, by several heads."""

    def __init__(self, n_embd: int, n_head: int, dropout: float) -> None:
        super().__init__()
        self.n_head = n_head
        self.dropout = Dropout(dropout)
        self.query_key_value = nn.Linear(n_embd, 3 * n_embd)
        self.output = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What each position gathers.

        Args:
            x: float (B, L, C).
            past: keys and values (2, B, N, P, D) of the P positions before; then L is 1.

        Returns:
            gathered: float (B, L, C).
            present: keys and values (2, B, N, P + L, D).
        """
        query, *new = self._parts(self.query_key_value(x))
        present = torch.stack(new) if past is None else torch.cat([past, torch.stack(new)], dim=3)
        key, value = present
        gathered = F.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        return self.output(gathered.transpose(1, 2).reshape(x.shape)), present

    def train_on(self, x: Tensor, inside: Tensor, shape: tuple[int, int]) -> Tensor:
        """What each position gathers, without the padding.

        Args:
            x: float (S, C), the positions of all names.
            inside: int64 (S,), where they are among the B * L with padding.
            shape: B and L.

        Returns:
            float (S, C).
        """
        all_parts = self.query_key_value(x)
        padded = all_parts.new_zeros(shape[0] * shape[1], all_parts.shape[1]).index_copy(0, inside, all_parts)
        query, key, value = self._parts(padded.view(*shape, -1))
        if self.dropout.p and x.device.type == "cpu":
            gathered = self._attend(query, key, value)
        else:
            gathered = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout.p, is_causal=True)
        return self.output(gathered.transpose(1, 2).reshape(-1, x.shape[1]).index_select(0, inside))

    def _parts(self, parts: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values of (B, L, 3C), each (B, N, L, D)."""
        return parts.unflatten(2, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4).unbind()

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """As scaled_dot_product_attention, in three fifths of its time: with dropout torch has no kernel for the CPU.

        Keys come first, since torch's softmax takes twenty times as long over a short last dimension.
        """
        (B, N, L, D), flat = query.shape, (-1, *query.shape[2:])
        mask = query.new_full((L, L), -torch.inf).triu(1)
        products = torch.baddbmm(mask, query.reshape(flat), key.reshape(flat).transpose(1, 2), alpha=D**-0.5)
        weights = self.dropout(products.permute(2, 0, 1).contiguous().softmax(0)).permute(1, 2, 0).contiguous()
        return (weights @ value.reshape(flat)).view(B, N, L, D)


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

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Float (B, L, C) in and out; `past` and what is returned beside it as for `Attention`."""
        gathered, present = self.attention(self.norm_1(x), past)
        return self._add(x, gathered), present

    def train_on(self, x: Tensor, inside: Tensor, shape: tuple[int, int]) -> Tensor:
        """Float (S, C) in and out; the others as for `Attention`."""
        return self._add(x, self.attention.train_on(self.norm_1(x), inside, shape))

    def _add(self, x: Tensor, gathered: Tensor) -> Tensor:
        x = x + self.dropout(gathered)
        return x + self.dropout(self.output(self.gelu(self.hidden(self.norm_2(x)))))


class Transformer(nn.Module):
    """A decoder of the shape of GPT-2: pre-norm blocks of causal attention and GELU, learned positions.

    Args:
        vocab_size: V, the characters and the boundary.
        block_size: T, positions: the longest name that it can take, and one for the boundary before it.
        n_layer: blocks.
        n_head: N, heads of each block's attention; they share the C numbers, so N divides C.
        n_embd: C, numbers per character, and the width of the blocks.
        dropout: share of what is dropped in training: attention weights, what each layer adds, the embedding.

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
    ) -> None:
        super().__init__()
        check_sizes(vocab_size=vocab_size, block_size=block_size, n_layer=n_layer, n_head=n_head, n_embd=n_embd)
        check_dropout(dropout)
        if n_embd % n_head:
            raise ValueError(f"n_embd is {n_embd} and n_head {n_head}; n_embd must be a multiple of n_head")
        self.block_size = block_size
        self.embedding = nn.Embedding(vocab_size, n_embd)
        self.positions = nn.Embedding(block_size, n_embd)
        self.dropout = Dropout(dropout)
        blocks = [Block(n_embd, n_head, dropout) for _ in range(n_layer)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(n_embd)
        self.output = nn.Linear(n_embd, vocab_size, bias=False)
        self._init_weights(blocks)

    def forward(self, names: Tensor) -> Tensor:
        """Logits float32 (B, L, V) for the character after each of `names`, int64 (B, L); the boundary comes first.

        In training what comes after a name's end is left out, where the longest names are first: logits of 0.
        """
        if self.training:
            return self._train_on(names)
        x = self.embedding(names) + self.positions.weight[: names.shape[1]]
        for block in self.blocks:
            x, _ = block(x)
        return self.output(self.norm(x))

    def _train_on(self, names: Tensor) -> Tensor:
        (B, L), inside = names.shape, inside_names(names).flatten().nonzero().squeeze(1)
        x = self.dropout(self.embedding(names.flatten()[inside]) + self.positions(inside % L))
        for block in self.blocks:
            x = block.train_on(x, inside, (B, L))  # type: ignore[operator]  # as of any module in a list
        logits = self.output(self.norm(x))
        return logits.new_zeros(B * L, logits.shape[1]).index_copy(0, inside, logits).view(B, L, -1)

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits after one more character of every name.

        Args:
            ids: int64 (B,), the boundary at first.
            state: as the last call returned it; None at first.

        Returns:
            logits: float32 (B, V).
            state: each block's keys and values (2, B, N, L, D) of the L characters so far.
        """
        at = 0 if state is None else state[0].shape[3]
        x = self.dropout(self.embedding(ids) + self.positions.weight[at])[:, None]
        held = []
        for block, past in zip(self.blocks, state or [None] * len(self.blocks), strict=True):
            x, present = block(x, past)
            held.append(present)
        return self.output(self.norm(x[:, 0])), tuple(held)

    @torch.no_grad()
    def _init_weights(self, blocks: list[Block]) -> None:
        """Normal with 0.02; what is added to the sum of all blocks is smaller, by the square root of how many add."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for block in blocks:
            for adding in (block.attention.output, block.output):
                nn.init.normal_(adding.weight, std=_STD / (2 * len(blocks)) ** 0.5)
