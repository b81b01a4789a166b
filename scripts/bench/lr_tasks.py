"""The problems of lr_finder.py: their data and their nets. Dimension key: N examples, B batch, T context.

How LRFinder decides was chosen on the problems of "design". Those of "report" were set down before that, and nobody
looked at their losses until the choice was made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import lr_nets as nets
import torch
from lr_nets import T
from torch import Tensor, nn
from torch.nn import functional as F

from charlm.data.corpus import read_corpus
from charlm.data.splits import load_splits
from charlm.nets.bigram import Bigram
from charlm.nets.bow import BoW
from charlm.nets.deepmlp import DeepMLP
from charlm.nets.mlp import MLP
from charlm.nets.transformer import Transformer
from charlm.nets.wavenet import WaveNet
from charlm.tokenizer import CharTokenizer

L = 10  # positions of a whole name
Data = tuple[Tensor, Tensor, Tensor, Tensor]  # inputs and targets to train on and to validate with
Drawn = tuple[Tensor, Tensor, Tensor]  # inputs, targets with noise, targets without


@dataclass(frozen=True)
class Problem:
    """A net, its data and its loss.

    Args:
        build: makes the net; its weights are drawn from torch's global generator.
        data: makes the data, always the same.
        loss: of the net's output and the targets, a scalar.
        batch: examples in a batch.
    """

    build: Callable[[], nn.Module]
    data: Callable[[], Data]
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    batch: int = 32

    def net(self, seed: int) -> nn.Module:
        """A new net; batch norms use the statistics of each batch alone, which vmap can do."""
        torch.manual_seed(seed)
        net = self.build()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None
        return net

    def batches(self, seed: int, steps: int) -> Tensor:
        """The rows of each batch, int64 (steps, B), drawn with replacement."""
        generator = torch.Generator().manual_seed(1000 + seed)
        return torch.randint(len(self.data()[1]), (steps, self.batch), generator=generator)


Groups = dict[str, dict[str, Problem]]  # charlm's nets and others on names; nets that look up logits; everything else


@cache
def windows() -> Data:
    """T characters and the next one, of the bundled names."""
    splits = load_splits(block_size=T)
    (x, y), (a, b) = (part.gather(torch.arange(len(part))) for part in (splits.train, splits.val))
    return x, y, a[:2000], b[:2000]


@cache
def whole_names() -> Data:
    """Names cut to L positions, with the start token in front; targets -1 in the padding."""
    corpus = read_corpus()
    ids = [CharTokenizer(corpus.alphabet).encode(name)[: L - 1] for name in corpus.names()]
    x = torch.tensor([[0, *row, *[0] * (L - 1 - len(row))] for row in ids])
    y = torch.tensor([[*row, *[0] * (len(row) < L), *[-1] * (L - 1 - len(row))] for row in ids])
    x, y = torch.stack([x, y])[:, torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    return x[:-400], y[:-400], x[-400:], y[-400:]


def drawn(make: Callable[[torch.Generator, int], Drawn]) -> Callable[[], Data]:
    """Data from `make`, which gives inputs, noisy targets and clean ones; validation is with the clean ones."""

    @cache
    def data() -> Data:
        x, noisy, clean = make(torch.Generator().manual_seed(7), 61_000)  # two epochs of 6,000 steps: no overfitting
        return x[:60_000], noisy[:60_000], x[60_000:], clean[60_000:]

    return data


def teacher(g: torch.Generator, n: int) -> Drawn:
    """Ten classes of a random net; a tenth of the labels are random."""
    x = torch.randn(n, 20, generator=g)
    clean = (torch.tanh(x @ torch.randn(20, 40, generator=g)) @ torch.randn(40, 10, generator=g)).argmax(1)
    wrong = torch.rand(n, generator=g) < 0.1
    return x, torch.where(wrong, torch.randint(10, (n,), generator=g), clean), clean


def ratings(g: torch.Generator, n: int) -> Drawn:
    """What 200 users think of 150 items, from four properties of each."""
    x = torch.stack([torch.randint(200, (n,), generator=g), torch.randint(150, (n,), generator=g)], 1)
    user, item = torch.randn(200, 4, generator=g), torch.randn(150, 4, generator=g)
    clean = (user[x[:, 0]] * item[x[:, 1]]).sum(1) / 2
    return x, clean + 0.3 * torch.randn(n, generator=g), clean


def curve(noise: Callable[[torch.Generator, int], Tensor]) -> Callable[[torch.Generator, int], Drawn]:
    """A smooth function of eight inputs, with noise on its values."""

    def make(g: torch.Generator, n: int) -> Drawn:
        x = torch.randn(n, 8, generator=g)
        clean = torch.sin(x[:, 0] * 2) + x[:, 1] * x[:, 2] + x[:, 3:].sum(1) / 2
        return x, clean + noise(g, n), clean

    return make


def student(g: torch.Generator, n: int) -> Tensor:
    """Heavy tails: Student's t with three degrees of freedom, times a power law of index 2.5."""
    chi = torch.randn(n, 3, generator=g).square().sum(1) / 2  # of mean 1.5
    return torch.randn(n, generator=g) / (chi / 1.5) ** 0.5 * torch.rand(n, generator=g) ** -0.4


def outliers(g: torch.Generator, n: int) -> Tensor:
    """One value in three thousand is a thousand times as large, so one batch in a hundred."""
    large = torch.rand(n, generator=g) < 1 / 3000
    return torch.randn(n, generator=g) * torch.where(large, 300.0, 0.3)


def scaled(low: float, classes: bool) -> Callable[[torch.Generator, int], Drawn]:
    """A linear problem whose inputs have scales from 10 ** low to 1."""

    def make(g: torch.Generator, n: int) -> Drawn:
        x, scale = torch.randn(n, 20, generator=g), torch.logspace(low, 0, 20)
        z = x @ torch.randn(20, generator=g)
        clean = (z > 0).float() if classes else z
        return x * scale, clean if classes else z + torch.randn(n, generator=g), clean

    return make


def linear_map(g: torch.Generator, n: int) -> Drawn:
    """Ten inputs to ten outputs, with a little noise."""
    x = torch.randn(n, 10, generator=g)
    clean = x @ torch.randn(10, 10, generator=g) @ torch.diag(torch.linspace(0.1, 1, 10))
    return x, clean + 0.1 * torch.randn(n, 10, generator=g), clean


def parity(g: torch.Generator, n: int) -> Drawn:
    """Whether an odd number of the first three of twelve signs is positive."""
    x = torch.randint(2, (n, 12), generator=g).float() * 2 - 1
    clean = (x[:, :3].prod(1) > 0).float()
    return x, clean, clean


def rare(g: torch.Generator, n: int) -> Drawn:
    """Two positive examples in a hundred."""
    x = torch.randn(n, 10, generator=g)
    clean = (x[:, 0] + 0.5 * x[:, 1] * x[:, 2] > 2.5).float()
    return x, clean, clean


def bars(g: torch.Generator, n: int) -> Drawn:
    """Images of 8 x 8 with a bar in one of four directions, as 36 patches of 3 x 3, by quarters of the image."""
    clean = torch.randint(4, (n,), generator=g)
    start = torch.randint(2, 6, (n, 2), generator=g)
    image = 0.4 * torch.randn(n, 8, 8, generator=g)
    step = torch.tensor([[0, 1], [1, 0], [1, 1], [1, -1]])[clean]
    for k in (-1, 0, 1):
        place = start + k * step
        image[torch.arange(n), place[:, 0], place[:, 1]] += 1
    patches = image.unfold(1, 3, 1).unfold(2, 3, 1)  # (n, 6, 6, 3, 3)
    quarters = patches.reshape(n, 2, 3, 2, 3, 9).transpose(2, 3)
    return quarters.reshape(n, 36, 9), clean, clean


def low_rank(g: torch.Generator, n: int) -> Drawn:
    """Images of a curved surface of three dimensions in forty, to be coded and decoded."""
    x = torch.tanh(torch.randn(n, 3, generator=g) @ torch.randn(3, 40, generator=g))
    return x + 0.1 * torch.randn(n, 40, generator=g), x, x


def uneven(g: torch.Generator, n: int) -> Drawn:
    """Values whose noise depends on the input, and is small on average."""
    x = torch.randn(n, 6, generator=g)
    y = 0.3 * torch.sin(x[:, 0]) + torch.exp(x[:, 1] - 3) * torch.randn(n, generator=g)
    return x, y, y


def copies(g: torch.Generator, n: int) -> Drawn:
    """Tokens that repeat after six places; the next token is to be said."""
    half = torch.randint(8, (n, 6), generator=g)
    tokens = torch.cat([half, half, half[:, :1]], 1)
    return tokens[:, :-1], tokens[:, 1:], tokens[:, 1:]


def regression(noise: Callable[[torch.Generator, int], Tensor]) -> Problem:
    """A hidden layer that learns a curve."""
    return Problem(lambda: nets.layers(8, 32, 1), drawn(curve(noise)), nets.squares)


def names(build: Callable[[], nn.Module]) -> Problem:
    """A net of whole names, on eight of them at a time."""
    return Problem(build, whole_names, nets.of_tokens, 8)


DESIGN: Groups = {
    "names": {
        "mlp": Problem(lambda: MLP(block_size=T, n_hidden=64), windows),
        "transformer": names(lambda: Transformer(block_size=L, n_layer=1, n_head=2, n_embd=24)),
    },
    "tables": {"bigram": Problem(Bigram, windows), "log-linear": Problem(nets.log_linear, windows)},
    "others": {
        "teacher": Problem(lambda: nets.layers(20, 48, 48, 10), drawn(teacher)),
        "factors": Problem(nets.factors, drawn(ratings), nets.squares),
        "student noise": regression(student),
        "noise": regression(lambda g, n: 5 * torch.randn(n, generator=g)),
        "ill-conditioned classes": Problem(lambda: nets.layers(20, 1), drawn(scaled(-2, True)), nets.binary),
        "deep linear": Problem(nets.deep_linear, drawn(linear_map), nets.squares),
        "deep sigmoid": Problem(lambda: nets.layers(20, 24, 24, 24, 10, unit=nn.Sigmoid), drawn(teacher)),
    },
}
REPORT: Groups = {
    "names": {
        "deep mlp": Problem(lambda: DeepMLP(block_size=T, n_hidden=48, n_layer=3), windows),
        "wavenet": Problem(lambda: WaveNet(block_size=T, n_embd=12, n_hidden=48), windows),
        "bag of words": names(lambda: BoW(block_size=L, n_embd=24, n_hidden=24)),
        "gru": Problem(lambda: nets.Recurrent(3), windows),
        "rnn": Problem(lambda: nets.Recurrent(1), windows),
    },
    "tables": {"trigram": Problem(nets.trigram, windows), "back-off": Problem(nets.back_off, windows)},
    "others": {
        "copying": Problem(nets.LM, drawn(copies), nets.of_tokens, 16),
        "rare class": Problem(lambda: nets.layers(10, 32, 1), drawn(rare), nets.binary),
        "images": Problem(nets.convolution, drawn(bars)),
        "autoencoder": Problem(lambda: nets.layers(40, 24, 4, 24, 40, unit=nn.Tanh), drawn(low_rank), nets.squares),
        "gaussian": Problem(lambda: nets.layers(6, 32, 2, unit=nn.Tanh), drawn(uneven), nets.gaussian),
        "outliers": regression(outliers),
        "strong noise": regression(lambda g, n: 10 * torch.randn(n, generator=g)),
        "ill-conditioned values": Problem(lambda: nets.layers(20, 1), drawn(scaled(-1.5, False)), nets.squares),
        "parity": Problem(lambda: nets.layers(12, 32, 1, unit=nn.Tanh), drawn(parity), nets.binary),
    },
}
PROBLEMS = {name: problem for part in (DESIGN, REPORT) for group in part.values() for name, problem in group.items()}
