"""Takes the READMEs' pictures of TensorBoard with a headless Chromium, and draws the one of `charlm plot`.

    charlm fit --config mlp --data makemore
    charlm fit --config mlp --data makemore --trainer.callbacks=StepsPerExecution --name fixed
    charlm fit --model Bigram --data makemore
    charlm fit --config mlp-fast --data makemore
    python scripts/pictures/dashboard_pictures.py lightning_logs/001-mlp-makemore --beside lightning_logs/002-fixed \
        --out .github

tests/dashboard/test_browser.py checks the same pages.
"""

import argparse
import re
from pathlib import Path

from dashboard_browser import Page, chromium
from PIL import Image

from charlm.cli.commands.dashboard import PINNED, one_directory, serve
from charlm.cli.commands.plot import plot

COLORS = 128
COLUMNS = ("model", "model.lr", "model.optimizer", "step_decay.milestones", "best/val", "loss/test")


def save(picture: Image.Image, file: Path) -> None:
    """Write a PNG with few colours, a third of the size without a visible difference."""
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file}  {picture.width} x {picture.height}  {file.stat().st_size / 1000:.0f} kB")


def time_series(page: Page) -> Image.Image:
    """The pinned curves."""
    page.open("timeseries", *PINNED)
    return page.picture()


def images(page: Page) -> Image.Image:
    """The embedding: now, as a film and step by step."""
    page.open("images&tagFilter=embedding_pca", "embedding_pca")
    loaded = "const images = elements('img'); return images.length > 0 && images.every((image) => image.complete)"
    page.until(lambda: bool(page.run(loaded)), "image")
    return page.picture((285, 125, 1100, 1040))


def hparams(page: Page) -> Image.Image:
    """The table of all runs, with the columns that fit into the README."""
    page.resize(1500, 560)
    page.open("hparams", "Trial ID", "model", "loss/val")
    boxes = page.run("return elements('paper-checkbox').map((box) => [box.innerText.trim(), box.checked])")
    for column, shown in boxes:
        # the other boxes are values, such as SGD or makemore.txt
        is_column = column in ("model", "epoch", "seed_everything") or re.fullmatch(r"[a-z]\w*([./]\w+)+", column)
        is_file = column.endswith((".txt", ".csv"))
        if is_column and not is_file and shown != (column in COLUMNS):
            page.click("paper-checkbox", column)
            page.wait_for("001-mlp-makemore")  # the table is loaded again
            page.settle()
    return page.picture((300, 64, 1500, 330))


TABS = {each.__name__: each for each in (time_series, images, hparams)}


def main() -> None:
    """Take the pictures of two tabs of one run, of HParams with the runs beside it, and draw two runs' losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a run, with other runs beside it")
    parser.add_argument("--beside", type=Path, help="a second run for the picture of `charlm plot`")
    parser.add_argument("--out", type=Path, default=Path("."), help="directory for the pictures")
    options = parser.parse_args()
    with one_directory([options.run]) as alone, chromium() as driver:
        one, every = (serve(place, "127.0.0.1", 0) for place in (alone, options.run.resolve().parent))
        for name, take in TABS.items():
            page = Page(driver, every if take is hparams else one)
            save(take(page), options.out / f"dashboard_{name}.png")
            for error in page.errors():
                print(f"{name}: {error}")
    if options.beside is not None:
        plot([str(options.run), str(options.beside)], out=str(options.out / "plot.png"))


if __name__ == "__main__":
    main()
