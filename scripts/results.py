"""Train shipped configs on one list of names and print their table in Markdown: the README's results.

python scripts/results.py                       the names that come with charlm
python scripts/results.py --data makemore       the course's 32,033 names
"""

import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import auto_cli

CONFIGS = ("bigram", "mlp")


def main(data: str | None = None, out: str = "lightning_logs/results", configs: tuple[str, ...] = CONFIGS) -> None:
    """Train and compare.

    Args:
        data: a file with one name a line, or makemore; by default the names that come with charlm.
        out: the folder of the runs; each run is `<config>`.
        configs: the shipped configs to train.
    """
    runs = [train(config, data, Path(out)) for config in configs]
    print(f"\n{data or 'the bundled names'}, split by name, losses in nats per character:\n")
    charlm("summary", *map(str, runs), "--format", "markdown")


def train(config: str, data: str | None, out: Path) -> Path:
    """Train one config in a process of its own, say how long it took, and return its run."""
    logger = {"save_dir": str(out.parent), "name": out.name, "version": config}
    options = [f"--trainer.logger.{key}={value}" for key, value in logger.items()]
    source = ["--data.path", data] if data else []
    started = time.perf_counter()
    charlm("fit", "--config", config, "--trainer.logger=charlm.loggers.RunLogger", *options, *source)
    print(f"{config}: {time.perf_counter() - started:.0f} s, start and report included")
    return out / config


def charlm(*args: str) -> None:
    """Run `charlm ARGS...` with this Python."""
    subprocess.run([sys.executable, "-m", "charlm", *args], check=True)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
