"""Feeds the programs that tune decoders: orders, prompts, weights and batches, by the names of
seeds and epochs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from fairjax.segmentation.image_embeddings import EmbeddingSource
from fairjax.segmentation.prompts import generator
from fairjax.segmentation.tuning.examples import Examples
from fairjax.segmentation.tuning.program import Batch, Programs, State, TuneHyperparams
from fairjax.segmentation.tuning.runs import TuneConfig
from fairjax.training.optimizer import schedule
from fairjax.training.runs import Run
from fairjax.utils.random import stream

# runs of a chunk: more would gain nothing, as a device takes one after the other
MAX_PER_DEVICE = 4
READERS = 4  # threads that read embeddings


class Engine:
    """Feeds the programs, by the names of seeds and epochs; trains chunks of runs."""

    def __init__(
        self,
        programs: Programs,
        source: EmbeddingSource,
        train: Examples,
        validation: Examples,
        config: TuneConfig,
        seed: int,
    ):
        self.programs, self.source, self.config, self.seed = programs, source, config, seed
        self.examples, self.validation = train, validation
        n_groups = programs.sizes.groups
        self.membership = (train.groups[:, None] == np.arange(n_groups)).astype(
            np.float32
        )  # (n, g)
        self.readers = ThreadPoolExecutor(READERS)
        self.steps = -(-len(train) // config.batch_size)

    def train(
        self, runs: Sequence[Run], width: int, advance: Callable[[float], Any]
    ) -> dict[str, np.ndarray]:
        """Trains one chunk, padded to `width` by repeating its last run.

        Args:
          runs: runs of the chunk.
          width: width of all chunks.
          advance: takes how many runs, in parts, were trained since it was called last.
        """
        padded = [*runs, *[runs[-1]] * (width - len(runs))]
        seeds = list(dict.fromkeys(run.seed for run in padded))
        hyperparams = jax.device_put(self._hyperparams(padded, seeds), self.programs.split)
        tunable = self.programs.tunable
        initial = {seed: tunable.ravel(tunable.initial(self.seed, seed)) for seed in seeds}
        state = self.programs.init(np.stack([initial[run.seed] for run in padded]))
        pace = schedule(self.config, self.steps)
        losses: list[np.ndarray] = []
        scores = [self._score(state.params)]
        state = self.programs.keep(state, jnp.asarray(scores[0]), jnp.int32(0))
        for epoch in range(self.config.epochs):
            weights = np.stack([self._weights(run, epoch) for run in padded])  # (r, n)
            totals = np.zeros(width)
            for step, (rows, batch) in enumerate(self._batches(seeds, epoch)):
                of_run = rows[[seeds.index(run.seed) for run in padded]]  # (r, b)
                weight = np.where(
                    of_run >= 0, np.take_along_axis(weights, np.maximum(of_run, 0), 1), 0
                )
                rate = pace(epoch * self.steps + step)
                state, value = self._step(state, hyperparams, weight, batch, rate)
                totals += np.asarray(value)
                advance(len(runs) / (self.config.epochs * self.steps))
            losses.append(totals / self.steps)
            scores.append(self._score(state.params))
            state = self.programs.keep(state, jnp.asarray(scores[-1]), jnp.int32(epoch + 1))
        arrays = {
            "params": state.best,
            "validation": self._dice(state.best),
            "score": np.stack(scores, 1),
            "loss": np.stack(losses, 1),
            "best_epoch": state.best_epoch,
        }
        return {
            name: np.ascontiguousarray(np.asarray(array)[: len(runs)])
            for name, array in arrays.items()
        }

    def _step(
        self,
        state: State,
        hyperparams: TuneHyperparams,
        weight: np.ndarray,
        batch: Batch,
        pace: Any,
    ) -> tuple[State, Any]:
        programs = self.programs
        weight = jax.device_put(weight.astype(np.float32), programs.split)
        return programs.step(
            programs.frozen,
            state,
            hyperparams,
            weight,
            jax.device_put(batch, programs.whole),
            jnp.float32(pace),
        )

    def _hyperparams(self, runs: Sequence[Run], seeds: list[int]) -> TuneHyperparams:
        names = list(self.programs.methods)
        return TuneHyperparams(
            np.array([names.index(run.method) for run in runs], np.int32),
            np.array([run.strength or 0.0 for run in runs], np.float32),
            np.array([run.learning_rate for run in runs], np.float32),
            np.array([run.weight_decay for run in runs], np.float32),
            np.array([seeds.index(run.seed) for run in runs], np.int32),
        )

    def _weights(self, run: Run, epoch: int) -> Float[np.ndarray, " n"]:
        """Weights of the training objects in one epoch of a run."""
        draw = self.programs.methods[run.method].sample_weights
        if draw is None:
            return np.ones(len(self.examples), np.float32)
        key = stream(jax.random.key(self.seed), "bootstrap", run.seed, epoch)
        return np.asarray(
            draw(key, jnp.asarray(self.membership), jnp.array([run.strength or 0.0]))
        )[0]

    def _batches(
        self, seeds: list[int], epoch: int
    ) -> Iterator[tuple[Int[np.ndarray, "s b"], Batch]]:
        """Rows of each step, −1 for padding, and what they hold; the next step is read while one
        computes.
        """
        size, n = self.config.batch_size, len(self.examples)
        order, prompt = [], []
        for seed in seeds:
            rng = generator(self.seed, "tuning", seed, epoch)
            order.append(np.pad(rng.permutation(n), (0, self.steps * size - n), constant_values=-1))
            prompt.append(_draw_prompts(self.examples, rng))
        rows_sb = np.stack(order)
        prompts = np.stack(prompt)  # (s, n)
        with ThreadPoolExecutor(1) as ahead:
            cut = [rows_sb[:, start : start + size] for start in range(0, self.steps * size, size)]
            waiting = ahead.submit(self._batch, self.examples, cut[0], prompts)
            for rows, following in itertools.zip_longest(cut, cut[1:]):
                batch = waiting.result()
                if following is not None:
                    waiting = ahead.submit(self._batch, self.examples, following, prompts)
                yield rows, batch

    def _batch(self, examples: Examples, rows_sb: np.ndarray, prompts_sn: np.ndarray) -> Batch:
        rows = np.maximum(rows_sb, 0)
        prompt = np.take_along_axis(prompts_sn, rows, 1)
        truth, inside = examples.masks(rows)
        wanted = sorted({examples.images[row] for row in rows.ravel()})
        read = dict(zip(wanted, self.readers.map(self.source.read, wanted)))
        x = np.stack([read[examples.images[row]] for row in rows.ravel()])
        membership = (
            examples.groups[rows][..., None] == np.arange(self.programs.sizes.groups)
        ).astype(np.float32)
        return Batch(
            x.reshape(*rows.shape, *self.source.shape),
            examples.coords[rows, prompt],
            examples.labels[rows, prompt],
            truth,
            inside,
            membership,
        )

    def _score(self, params: jax.Array) -> Float[np.ndarray, " r"]:
        """Gives what selects epochs: mean Dice of all validation objects, or of the worst group."""
        dice = self._dice(params)
        codes = self.validation.groups
        if self.config.select == "overall":
            return dice.mean(1)
        return np.stack(
            [dice[:, codes == code].mean(1) for code in np.unique(codes[codes >= 0])]
        ).min(0)

    def _dice(self, params: jax.Array) -> Float[np.ndarray, "r m"]:
        size, n = self.config.batch_size, len(self.validation)
        rows = np.pad(np.arange(n), (0, -n % size), constant_values=-1).reshape(-1, 1, size)
        first = np.zeros((1, n), int)
        found = []
        for of_batch in rows:
            batch = jax.tree.map(
                lambda part: part[0], self._batch(self.validation, of_batch, first)
            )
            found.append(
                self.programs.dice(
                    self.programs.frozen, params, jax.device_put(batch, self.programs.whole)
                )
            )
        return np.concatenate([np.asarray(part) for part in found], 1)[:, :n]


def _draw_prompts(examples: Examples, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A prompt of every object: a kind, each as likely, then a draw of it."""
    prompts = [np.flatnonzero(examples.kinds == kind) for kind in np.unique(examples.kinds)]
    kind, draw = rng.integers(len(prompts), size=len(examples)), rng.random(len(examples))
    return np.array([prompts[k][int(u * len(prompts[k]))] for k, u in zip(kind, draw)])
