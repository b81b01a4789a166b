import os

from lightning.pytorch.loggers import CSVLogger
from torch.utils.tensorboard import SummaryWriter

from charlm.runs.logged import find_logged_runs, last_logged, read_logged


def test_the_sparse_rows_of_csvlogger_are_curves(tmp_path):
    logger = CSVLogger(tmp_path, name="csv", version="a")
    for step in range(4):
        logger.log_metrics({"loss/train": 2.0 - step, **({"loss/val": 3.0} if step % 2 else {})}, step)
    logger.save()
    (run,) = find_logged_runs(tmp_path)
    read = read_logged(run, lambda tag: tag.startswith("loss"))
    assert {tag: [each.tolist() for each in curve] for tag, curve in read.curves.items()} == {
        "loss/train": [[0, 1, 2, 3], [2, 1, 0, -1]],
        "loss/val": [[1, 3], [3, 3]],
    }
    (run / "metrics.csv").write_text("step,loss/val\n0,1.5\n,2\n1,much\n2,0.5\n")
    read = read_logged(run, lambda tag: True)
    assert [each.tolist() for each in read.curves["loss/val"]] == [[0, 2], [1.5, 0.5]]
    assert read.notes == [f"{run}/metrics.csv has 2 rows without a step, or with other cells than numbers; left out"]


def test_event_files_come_before_a_metrics_csv_and_the_newest_file_says_when(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss/val", 1.0, 7)
    (file,) = tmp_path.iterdir()
    (tmp_path / "metrics.csv").write_text("step,other\n0,1.5\n")
    os.utime(file, (300, 300))
    os.utime(tmp_path / "metrics.csv", (200, 200))
    assert (last_logged(tmp_path), read_logged(tmp_path, lambda tag: True).tags) == (300, ["loss/val"])
