"""The usual forms of the GRU and the Transformer, as in makemore, in plain torch: workers of bench.py.

A Python loop over the characters; softmax of masked products; the whole context computed again for each drawn
character; batches of random names, padded to the longest name. Sizes and dropout are those of charlm's configs.

Source: makemore.py by Andrej Karpathy.
"""

import math

import torch
import torch.nn.functional as F
from family import LEARNT, learn, read_config
from peers import read_names
from torch import Tensor, nn
from worker import Numbers, clock, work


class GRUCell(nn.Module):
    """The state after one more character, from three layers over both, side by side."""

    def __init__(self, n_embd: int, n_hidden: int) -> None:
        super().__init__()
        self.xh_to_z, self.xh_to_r, self.xh_to_hbar = (nn.Linear(n_embd + n_hidden, n_hidden) for _ in range(3))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        xh = torch.cat([x, h], dim=1)
        r = torch.sigmoid(self.xh_to_r(xh))
        hbar = torch.tanh(self.xh_to_hbar(torch.cat([x, r * h], dim=1)))
        z = torch.sigmoid(self.xh_to_z(xh))
        return (1 - z) * h + z * hbar


class GRU(nn.Module):
    """A loop over the characters."""

    def __init__(self, vocab_size: int, n_embd: int, n_hidden: int, dropout: float) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, n_hidden))
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.cell = GRUCell(n_embd, n_hidden)
        self.dropout = nn.Dropout(dropout)
        self.lm_head = nn.Linear(n_hidden, vocab_size)

    def forward(self, idx: Tensor) -> Tensor:
        emb = self.dropout(self.wte(idx))
        h = self.start.expand(len(idx), -1)
        hiddens = []
        for t in range(idx.shape[1]):
            h = self.cell(emb[:, t], h)
            hiddens.append(h)
        return self.lm_head(self.dropout(torch.stack(hiddens, 1)))


class Attention(nn.Module):
    """Softmax of the products of queries and keys, the later ones masked."""

    bias: Tensor

    def __init__(self, block_size: int, n_head: int, n_embd: int, dropout: float) -> None:
        super().__init__()
        self.n_head = n_head
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("bias", torch.tril(torch.ones(block_size, block_size)))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.n_head, -1).transpose(1, 2) for part in self.c_attn(x).split(C, dim=2))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.shape[-1]))
        att = att.masked_fill(self.bias[:T, :T] == 0, float("-inf"))
        y = self.dropout(F.softmax(att, dim=-1)) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class Block(nn.Module):
    """Attention and a layer for each position."""

    def __init__(self, block_size: int, n_head: int, n_embd: int, dropout: float) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn = Attention(block_size, n_head, n_embd, dropout)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attn(self.ln_1(x)))
        return x + self.dropout(self.mlp(self.ln_2(x)))


class Transformer(nn.Module):
    """Blocks over characters and positions."""

    def __init__(
        self, vocab_size: int, block_size: int, n_layer: int, n_head: int, n_embd: int, dropout: float
    ) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab_size, n_embd), nn.Embedding(block_size, n_embd)
        self.dropout = nn.Dropout(dropout)
        self.h = nn.ModuleList(Block(block_size, n_head, n_embd, dropout) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd)
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)

    def forward(self, idx: Tensor) -> Tensor:
        x = self.dropout(self.wte(idx) + self.wpe(torch.arange(idx.shape[1])))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


NETS: dict[str, type[nn.Module]] = {"gru": GRU, "transformer": Transformer}
LONGEST = 30  # characters of a drawn name, as for charlm


def build_names(words: list[str], stoi: dict[str, int]) -> tuple[Tensor, Tensor]:
    """All names, each padded to the longest: what goes in, and what is to come out, -1 where nothing is."""
    X = torch.zeros(len(words), max(map(len, words)) + 1, dtype=torch.long)
    Y = torch.full_like(X, -1)
    for x, y, w in zip(X, Y, words, strict=True):
        ix = torch.tensor([stoi[ch] for ch in w])
        x[1 : len(w) + 1] = ix
        y[: len(w)] = ix
        y[len(w)] = 0
    return X, Y


def training(data: str, net: str, steps: int) -> Numbers:
    """Train for so many steps."""
    torch.set_num_threads(1)  # as charlm fit does: on a busy machine two wait for each other
    names, config, numbers = read_names(data), read_config(net), Numbers()
    X, Y = build_names(names.parts()[0], names.stoi)
    torch.manual_seed(0)
    model = NETS[net](len(names.stoi), **config.sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    with clock(numbers):
        for _ in range(steps):
            ix = torch.randint(len(X), (config.batch_size,))
            logits = model(X[ix])
            loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), Y[ix].view(-1), ignore_index=-1)
            model.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return numbers


def sampling(data: str, net: str, count: int) -> Numbers:
    """Draw names side by side from charlm's net, all that came before read anew for each character of any name."""
    model, tokenizer, _ = learn(data, net, LEARNT)
    model.eval()
    torch.manual_seed(0)
    numbers, idx, ended = Numbers(), torch.zeros(count, 1, dtype=torch.long), torch.zeros(count, dtype=torch.bool)
    with clock(numbers), torch.no_grad():
        while not ended.all() and idx.shape[1] <= LONGEST:
            probs = F.softmax(model(idx)[:, -1], dim=-1)
            drawn = torch.multinomial(probs, num_samples=1)
            idx = torch.cat([idx, drawn], dim=1)
            ended |= drawn[:, 0] == 0
        ends = [[*row, 0].index(0) for row in idx[:, 1:].tolist()]
        names = [tokenizer.decode(row[:end]) for row, end in zip(idx[:, 1:].tolist(), ends, strict=True)]
    return {**numbers, "length": sum(map(len, names)) / count}


if __name__ == "__main__":
    work(training, sampling)
