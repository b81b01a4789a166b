import pytest
import torch

from charlm.callbacks.embedding_pca.rows import choose_rows, kinds_of, labels_of


class Module:
    embedding_labels = ("a", "b", "c")
    embedding_kinds = ("x", "y", "x")


@pytest.mark.parametrize(
    ("count", "columns", "max_rows", "sampled"),
    [(5000, 8, 2000, 5000), (50_000, 768, 2000, 2083), (50_000, 768, 3000, 3000)],
)
def test_large_tables_are_sampled_alike_each_time_without_the_global_generator(count, columns, max_rows, sampled):
    labels = [str(row) for row in range(count)]
    before = torch.get_rng_state()
    rows, again = (choose_rows(labels, None, columns, max_rows) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert (len(rows.sample), len(rows.drawn)) == (sampled, max_rows)
    for chosen, same in ((rows.sample, again.sample), (rows.drawn, again.drawn)):
        assert (chosen.diff() > 0).all()
        assert torch.equal(chosen, same)


@pytest.mark.parametrize(
    ("labels", "kinds"),
    [([".", "a", "b", "-"], ["boundary", "vowel", "consonant", "other"]), (["0", "1"], None), (["the", "a"], None)],
)
def test_letters_have_kinds_of_their_own_and_nothing_else_has(labels, kinds):
    assert choose_rows(labels, None, 2, 9).kinds == kinds


@pytest.mark.parametrize(
    ("given", "own_labels", "kinds"),
    [
        (None, True, ["x", "y", "x"]),
        (None, False, None),  # the model's kinds are not those of other labels
        (["u", "v", "u"], True, ["u", "v", "u"]),
        ([], True, ["", "", ""]),
    ],
)
def test_kinds_come_from_the_argument_or_the_model(given, own_labels, kinds):
    assert kinds_of(given, Module(), ["a", "b", "c"], own_labels, "table") == kinds


@pytest.mark.parametrize(
    ("given", "labels"),
    [(None, ["a", "b", "c"]), ([], ["0", "1", "2", "3", "4"]), (list("vwxyz"), ["v", "w", "x", "y", "z"])],
)
def test_labels_come_from_the_argument_the_model_or_the_row_numbers(given, labels):
    """Rows beyond the model's labels are left out."""
    assert labels_of(given, Module(), 5, "net.0") == labels


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: kinds_of(["u"], Module(), ["a", "b"], True, "net.0"), "EmbeddingPCA has 1 kinds for the 2 labelled"),
        (lambda: kinds_of(None, Module(), ["a", "b"], True, "net.0"), "Module.embedding_kinds has 3 kinds for the 2"),
        (lambda: labels_of(None, Module(), 2, "net.0"), "Module.embedding_labels has 3 labels for the 2 rows of net.0"),
        (lambda: labels_of(["u"], Module(), 5, "net.0"), "EmbeddingPCA has 1 labels for the 5 rows of net.0"),
    ],
)
def test_too_many_or_too_few_labels_or_kinds_are_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
