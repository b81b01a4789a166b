from itertools import islice

import pytest
import torch

from charlm.data.name_batches import NameLoader
from charlm.data.sequences import Sequences

ORDERS = ["sequential", "epoch", "replacement"]


def sequences(count=100, longest=12):
    """Names of 1 to `longest` characters that tell their numbers: the first two characters are its digits."""
    generator = torch.Generator().manual_seed(5)
    stream = []
    for number in range(count):
        more = int(torch.randint(longest - 1, (), generator=generator))
        stream += [1 + number // 100, 1 + number % 100, *[7] * more, 0]
    return Sequences(torch.tensor(stream, dtype=torch.int16))


def numbers(batches):
    """The names' numbers of each batch; checks how they are padded."""
    found = []
    for names, target in batches:
        assert names.shape == target.shape
        assert (target != -1).any(0).all()  # no column is padding alone
        assert torch.equal(names[:, 1:][target[:, 1:] != -1], target[:, :-1][target[:, 1:] != -1])
        found.append(((target[:, 0] - 1) * 100 + target[:, 1] - 1).tolist())
    return found


def flat(batches):
    return [number for batch in batches for number in batch]


@pytest.mark.parametrize(("sampling", "seed"), [*((order, 4) for order in ORDERS), ("epoch", None)])
@pytest.mark.parametrize("taken", [0, 5, 15])
def test_an_epoch_shows_every_name_once_and_a_saved_one_goes_on_with_the_very_next_batch(sampling, seed, taken):
    whole, saved, resumed = (NameLoader(sequences(), 7, sampling=sampling, seed=seed) for _ in range(3))
    whole.set_epoch(2)
    saved.set_epoch(2)
    torch.manual_seed(3)
    batches = numbers(whole)
    torch.manual_seed(3)
    assert len(batches) == len(whole) == 15
    assert sampling == "replacement" or sorted(flat(batches)) == list(range(100))
    assert sampling != "sequential" or flat(batches) == list(range(100))
    assert numbers(islice(saved, taken)) == batches[:taken]
    resumed.load_state_dict(saved.state_dict())
    resumed.set_epoch(2)
    torch.manual_seed(3 if taken == 0 else 4)
    assert numbers(resumed) == batches[taken:]


def test_the_longest_names_of_a_training_batch_come_first():
    """So that those that have ended are always the last rows; and the names are drawn whatever their length."""
    spans = []
    for _, target in NameLoader(sequences(3000), 32, sampling="epoch"):
        lengths = (target != -1).sum(1).tolist()
        assert lengths == sorted(lengths, reverse=True)
        spans.append(lengths[0] - lengths[-1])
    assert sum(spans) / len(spans) > 8
