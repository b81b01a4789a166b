"""CPU time of the notebook's MLP step in JAX and in Keras 3 on JAX, beside which charlm's can be set.

python scripts/bench/other_frameworks.py          with any Python: neither torch nor charlm is needed

What is not installed (pip install jax keras) is left out. The sizes, the batch of 32 and SGD are the notebook's; the
names are random. One thread; the compilation does not count.
"""

import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}
os.environ |= {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}

import numpy as np  # which reads the settings

V, T, C, H, B = 27, 3, 10, 200, 32
AT_ONCE, STEPS = 250, 5_000
RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, V, (STEPS * B, T), dtype=np.int32)
Y = X.sum(1) % V


def jax_scan() -> Callable[[int], object]:
    """`jax.lax.scan` over 250 steps; numpy draws their batches."""
    jax, jnp = import_module("jax"), import_module("jax.numpy")
    x, y = jnp.asarray(X), jnp.asarray(Y)
    shapes = {"C": (V, C), "W1": (T * C, H), "b1": (H,), "W2": (H, V), "b2": (V,)}
    weights = {name: jnp.asarray(RANDOM.normal(0, 0.1, shape), jnp.float32) for name, shape in shapes.items()}

    def loss(w: dict[str, Any], ix: Any) -> Any:
        h = jnp.tanh(w["C"][x[ix]].reshape(B, -1) @ w["W1"] + w["b1"])
        logits = h @ w["W2"] + w["b2"]
        return (jax.nn.logsumexp(logits, 1) - logits[jnp.arange(B), y[ix]]).mean()

    def step(w: dict[str, Any], ix: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(w, ix)
        return jax.tree.map(lambda weight, slope: weight - 0.1 * slope, w, slopes), value

    execution = jax.jit(lambda w, batches: jax.lax.scan(step, w, batches))

    def train(steps: int) -> object:
        w = weights
        for _ in range(steps // AT_ONCE):
            w, _ = execution(w, RANDOM.integers(0, len(X), (AT_ONCE, B)))
        return jax.block_until_ready(w)

    return train


def keras_fit() -> Callable[[int], object]:
    """`Model.fit` with 250 steps per execution, without callbacks and validation."""
    keras = import_module("keras")
    layers = keras.layers
    hidden = layers.Dense(H, activation="tanh")
    model = keras.Sequential([layers.Embedding(V, C), layers.Flatten(), hidden, layers.Dense(V)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, steps_per_execution=AT_ONCE)
    return lambda steps: model.fit(X[: steps * B], Y[: steps * B], B, verbose=0)


def main() -> None:
    """Print the microseconds of a step in each of the two."""
    for name, make in (("JAX, lax.scan", jax_scan), ("Keras on JAX, steps_per_execution", keras_fit)):
        try:
            train = make()
        except ImportError as error:
            print(f"{name}: left out, since this Python has no {error.name}", file=sys.stderr)
            continue
        train(AT_ONCE)  # compiles
        started = time.process_time()
        train(STEPS)
        print(f"{name}: {1e6 * (time.process_time() - started) / STEPS:.0f} us a step")


if __name__ == "__main__":
    main()
