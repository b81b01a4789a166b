"""The course: both scripts as users start them print the notebooks' numbers."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = """emma olivia ava isabella sophia mia charlotte amelia harper evelyn
abigail emily ella elizabeth camila luna sofia avery mila aria"""
TOLERANCE = 2e-3


@pytest.fixture
def start(python):
    """Runs a script as a user does, from another directory."""
    return lambda script, *arguments: python(ROOT / "scripts" / script, *arguments, timeout=240)


def rows(lines):
    """The lines that are numbers only."""
    found = [line.replace(",", "").split() for line in lines]
    return [[float(cell) for cell in row] for row in found if row and all(re.fullmatch(r"[\d.]+|inf", c) for c in row)]


def by_heading(output):
    """The output's sections: the lines below each heading, by the heading's first words."""
    parts = re.split(r"^== ", output, flags=re.M)[1:]
    return {part.split("\n")[0].split(":")[0]: part.splitlines()[1:] for part in parts}


EMBEDDING = ("embedding_pca.png", "embedding_pca_frames.png", "embedding_pca.gif")


def check_pictures(lines, directory, names):
    """All pictures that the script names are there."""
    paths = [directory / line for line in lines if line]
    assert [path.name for path in paths] == names
    assert all(path.stat().st_size for path in paths)


def test_day_8_prints_the_notebooks_tables(start, tmp_path):
    done = start("day08_bigram.py", "--steps", "41")
    assert (done.returncode, done.stderr) == (0, "")
    parts = by_heading(done.stdout)
    assert "130 pairs, the first ones: .e em mm ma a. .o ol li" in parts["Bigram pairs"]
    descent = rows(parts["Gradient descent on all pairs"])
    assert [row[:2] for row in descent] == [
        pytest.approx(row, abs=TOLERANCE) for row in [(0, 3.4461), (20, 1.5768), (40, 1.5351)]
    ]
    for _, minimised, cross_entropy, penalty in descent:
        assert cross_entropy + penalty == pytest.approx(minimised, abs=2e-4)
    assert f"Final loss: {descent[-1][1]:.4f}, before step 40" in parts["Gradient descent on all pairs"]
    lookup, loss = parts["By hand"][:2]
    assert lookup.endswith("largest difference 0")
    by_hand, library = map(float, re.findall(r" (\d\.\d{4})", loss))
    assert by_hand == pytest.approx(library, abs=1e-4)
    shares = {line.split()[0]: list(map(float, line.split()[1:])) for line in parts["Row 0 of the tables"][1:] if line}
    assert len(shares) == 21
    assert (shares["a"][:2], shares["b"][:2]) == ([5 / 20, 0.1277], [0.0, 0.0213])  # 6 and 1 of 20 + 27
    assert sum(neural for *_, neural in shares.values()) == pytest.approx(1, abs=0.02)  # without the unused rows
    splits = rows(parts["Gradient descent on 104 / 13 / 13 pairs (train / val / test)"])
    assert splits[0] == pytest.approx((1, 2.6490, 3.6347, 3.1590), abs=TOLERANCE)
    assert splits[1] == pytest.approx((41, 1.4479, 4.1838, 2.9287), abs=TOLERANCE)
    names = [line.removesuffix(" *") for line in parts["Ten names (* is in the list)"] if line]
    assert len(names) == 10
    assert set("".join(names)) <= set(NAMES)
    check_pictures(parts["Pictures"], tmp_path, ["bigram_counts.png", "bigram_probabilities.png"])
    assert (tmp_path / "lightning_logs/day08").is_dir()


def test_day_10_prints_the_notebooks_tables(start, tmp_path):
    """The rate decays at step 1001 of 2002 here, at step 5000 of 10,000 in the notebook."""
    done = start("day10_mlp.py", "--steps", "2002", "--out", "here")
    assert (done.returncode, done.stderr) == (0, "")
    parts = by_heading(done.stdout)
    assert parts["Contexts"][:4] == [".em -> m", "emm -> a", "mma -> .", ".ol -> i"]
    assert "90 windows of 3 characters and the next one: 72 train, 18 val" in parts["Contexts"]
    sweep = {int(step): (rate, loss) for step, rate, loss in rows(parts["Learning-rate sweep"])}
    assert [sweep[step][1] for step in (0, 100, 300, 500)] == pytest.approx(
        [3.2958, 3.2970, 3.2532, 2.8010], abs=TOLERANCE
    )
    assert (sweep[0][0], sweep[999][0]) == (0.0001, 10.0)
    lowest = next(line for line in parts["Learning-rate sweep"] if line.startswith("lowest point"))
    loss, rate = map(float, re.findall(r"\d+\.\d+", lowest))
    assert loss < 0.3  # a single noisy batch: where exactly depends on the processor's last digits
    assert 0.3 < rate < 3
    suggestion = next(line for line in parts["Learning-rate sweep"] if line.startswith("suggestion: the rate"))
    assert 0.0001 < float(re.findall(r"\d+\.\d+", suggestion)[0]) < rate
    curves = rows(parts["Step decay against a fixed rate"])
    assert curves[:3] == [
        pytest.approx((1, 3.2801, 3.2765, 3.2946, 3.2923), abs=TOLERANCE),
        pytest.approx((501, 0.2999, 4.6159, 2.1477, 2.3838), abs=TOLERANCE),
        pytest.approx((1001, 0.2098, 5.4740, 1.4695, 2.5436), abs=TOLERANCE),
    ]
    assert [row[0] for row in curves[3:]] == [1501, 2001, 2002]
    table = parts["Hyperparameters and final losses"]
    for line, run, final in zip(table[1:3], ("decay", "fixed"), (curves[-1][1:3], curves[-1][3:]), strict=True):
        cells = line.split()
        assert cells[0] == run
        assert [float(cell.replace(",", "")) for cell in cells[-6:]] == [10, 200, 3, 11897, *final]
    assert table[3].startswith(f"Final loss, decay 0.1 to 0.01: train {curves[-1][1]:.4f}, val {curves[-1][2]:.4f}")
    check_pictures(parts["Pictures"], tmp_path, ["lr_finder.png", "step_decay.png", *EMBEDDING])
