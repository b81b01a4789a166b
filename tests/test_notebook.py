"""The README's notebook section in a real kernel, as Jupyter runs it."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

SECTION = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split("\n## In a notebook\n")[1]
CELLS = re.findall("```python\n(.*?)```", SECTION.split("\n## ")[0], re.DOTALL)
FINDER = """
from charlm.callbacks import LRFinder

finder = LRFinder(num_steps=50)
trainer = pl.Trainer(max_steps=1, accelerator="cpu", callbacks=[finder], logger=False, enable_progress_bar=False)
trainer.fit(charlm.LitMLP(n_hidden=20), names)
finder.result.figure()
"""


@pytest.mark.slow
def test_the_readmes_cells_run_and_end_with_their_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in [*CELLS, FINDER]])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    _, of_table, of_finder = (cell.outputs for cell in notebook.cells)
    for outputs in (of_table, of_finder):
        (shown,) = [output.data for output in outputs if output.output_type == "execute_result"]
        assert shown["image/png"], "without pyplot"
    printed = "".join(output.text for output in of_table if output.output_type == "stream")
    assert printed.startswith("Splits(corpus=Corpus(5,494 names")
    assert len(printed.splitlines()[0]) < 400
