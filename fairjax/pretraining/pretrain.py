"""`python -m fairjax.pretraining.pretrain --config=configs/pretrain_phantom.py --out=DIR`.

Teaches a small encoder from unlabelled phantoms, measures a linear probe of its features, and
writes a model directory.
"""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from absl import app, flags, logging
from flax import nnx
from jaxtyping import Array, Float, Key, UInt8
from ml_collections import config_flags
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairjax import models
from fairjax.datasets import phantoms
from fairjax.models.preprocess import Preprocess
from fairjax.models.vit import ViT
from fairjax.models.zoo import MODELS
from fairjax.pretraining.selfsupervision import OBJECTIVES
from fairjax.utils.errors import EXIT_USER_ERROR, UserError, lookup
from fairjax.utils.progress import bar
from fairjax.utils.random import stream
from fairjax.utils.storage import hash_json

Config = Mapping[str, Any]
State = dict[str, Any]  # params, optimizer, losses (steps,)
AVERAGED_STEPS = 100  # over which the loss is logged


def pretrain(config: Config, out: Path) -> models.checkpoint.Card:
    """Trains, probes and saves; a killed run continues from its last checkpoint in `OUT.training`.

    Args:
      config: as `configs/pretrain_phantom.py` gives it.
      out: the model directory to be written.

    Returns:
      The model's card, with what was measured under `pretraining`.

    Raises:
      UserError: `out` is taken by something else, or the config names what there is not.
    """
    if out.exists() and not (out / "card.json").is_file():
        raise UserError(
            f"{out} exists and is not a model directory: choose another --out, or delete it"
        )
    encoder, losses = train(config, out.with_name(f"{out.name}.training"))
    card = models.save(
        out, encoder, make_card(encoder, float(losses[-AVERAGED_STEPS:].mean()), config)
    )
    shutil.rmtree(out.with_name(f"{out.name}.training"), ignore_errors=True)
    return card


def make_card(encoder: ViT, loss: float, config: Config) -> models.checkpoint.Card:
    """The model's card, with what its features are worth next to those of an untrained encoder and
    of the pixels.
    """
    measured = {
        "config": thaw(config),
        "final_loss": round(loss, 5),
        "probe": probe(encoder, config),
        "untrained_probe": probe(build(config), config),
        "pixels_probe": probe(None, config),
    }
    return models.make_card(config["model"], encoder.config) | {"pretraining": measured}


# -------------------------------------------------------------------------------------------------
# training


def build(config: Config) -> ViT:
    """The encoder before training."""
    return cast(
        ViT, models.build(config["model"], rngs=nnx.Rngs(config["seed"]), **config["architecture"])
    )


def train(
    config: Config, state_dir: Path, *, show: bool = True
) -> tuple[ViT, Float[np.ndarray, " steps"]]:
    """Trains the encoder.

    Args:
      config: as `configs/pretrain_phantom.py` gives it.
      state_dir: folder of the checkpoints.
      show: whether to show progress.

    Returns:
      The encoder, and the loss of every step.
    """
    key, encoder = jax.random.key(config["seed"]), build(config)
    objective = lookup("objective", config["objective"], OBJECTIVES)(
        encoder, rngs=nnx.Rngs(stream(key, "init"))
    )
    drawn = {
        "image_size": encoder.config.image_size,
        "images_per_patient": (2, 2),
        **thaw(config["phantoms"]),
    }
    pool = draw_pairs(phantoms.PhantomConfig(**drawn), show=show)

    steps, batch = config["steps"], config["batch_size"]
    optimizer = make_optimizer(config)
    graph, params = nnx.split(objective)
    state = {"params": params, "optimizer": optimizer.init(params), "losses": jnp.zeros(steps)}
    update = make_update(graph, optimizer, MODELS[config["model"]].preprocess, key)

    options = ocp.CheckpointManagerOptions(
        max_to_keep=1, save_interval_steps=config["checkpoint_every"]
    )
    # Another config does not resume this one.
    folder = state_dir.absolute() / hash_json(thaw(config))[:12]
    with ocp.CheckpointManager(folder, options=options) as checkpoints:
        start = checkpoints.latest_step() or 0
        if start:
            state = checkpoints.restore(start, args=ocp.args.StandardRestore(state))
        with bar("pretraining", "image", steps * batch, done=start * batch, show=show) as progress:
            for step in range(start, steps):
                rows = np.random.default_rng((config["seed"], step)).integers(0, len(pool), batch)
                state = update(state, pool[rows], step)
                checkpoints.save(step + 1, args=ocp.args.StandardSave(state))
                if step % 10 == 9:
                    recent = state["losses"][max(0, step + 1 - AVERAGED_STEPS) : step + 1].mean()
                    progress.set_description_str(f"pretraining, loss {recent:.4f}", refresh=False)
                progress.update(batch)
    pretrained: Any = nnx.merge(graph, state["params"])
    return pretrained.encoder, np.asarray(state["losses"])


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """AdamW with a linear warm-up and a cosine to 1 % of the peak."""
    peak, steps = config["learning_rate"], config["steps"]
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, peak, round(config["warmup"] * steps), steps, 0.01 * peak
    )
    return optax.adamw(schedule, b2=0.95, weight_decay=config["weight_decay"])


def make_update(
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    preprocess: Preprocess,
    key: Key[Array, ""],
) -> Callable[[State, UInt8[np.ndarray, "b 2 h w"], int], State]:
    """One compiled step: state, two images of each of b patients, number of the step → state."""

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: State, pairs: UInt8[Array, "b 2 h w"], step: Array) -> State:
        first, second = jnp.moveaxis(normalize(pairs, preprocess), 1, 0)

        def loss_of(params):
            return nnx.merge(graph, params).loss(first, second, stream(key, "dropout", step))

        loss, gradient = jax.value_and_grad(loss_of)(state["params"])
        updates, optimizer_state = optimizer.update(gradient, state["optimizer"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        return {
            "params": params,
            "optimizer": optimizer_state,
            "losses": state["losses"].at[step].set(loss),
        }

    return update


def draw_pairs(
    config: phantoms.PhantomConfig, *, show: bool = True
) -> UInt8[np.ndarray, "n 2 h w"]:
    """Two images of every patient of a cohort."""
    n, size = config.n_patients, config.image_size
    pairs = np.empty((n, 2, size, size), np.uint8)
    names = phantoms.cohort(config)["image"].reshape(n, 2)
    with bar("drawing phantoms", "image", 2 * n, show=show) as progress:
        for row, pair in enumerate(names):
            pairs[row] = [phantoms.render(config, name) for name in pair]
            progress.update(2)
    return pairs


def normalize(images: UInt8[Array, "... h w"], preprocess: Preprocess) -> Float[Array, "... h w 3"]:
    """What `preprocess` does to grey images of the right size, on the device."""
    mean, std = (jnp.asarray(values, jnp.float32) for values in (preprocess.mean, preprocess.std))
    return (images[..., None].astype(jnp.float32) * preprocess.scale - mean) / std


# -------------------------------------------------------------------------------------------------
# probe


def probe(encoder: ViT | None, config: Config) -> dict[str, float]:
    """AUC of a logistic regression on an encoder's features of labelled phantoms that it has never
    seen.

    Args:
      encoder: None takes the first principal components of the pixels instead, as many as features.
      config: settings of the pretraining; `config["probe"]` says which phantoms, and how many of
        the patients it is fitted to.

    Returns:
      AUC against the recorded labels of the other patients, over all and per group of sex and age.
    """
    options, row = thaw(config["probe"]), MODELS[config["model"]]
    train_fraction, c = options.pop("train_fraction"), options.pop("C")
    cohort_config = phantoms.PhantomConfig(image_size=row.architecture.image_size, **options)
    table = phantoms.cohort(cohort_config)
    images = np.stack([phantoms.render(cohort_config, name) for name in table["image"]])
    fitted = np.isin(
        table["patient"],
        np.unique(table["patient"])[: round(train_fraction * cohort_config.n_patients)],
    )
    if encoder is None:
        flat = images.reshape(len(images), -1).astype(np.float32)
        n_components = min(row.architecture.probe_width, fitted.sum())
        features = (
            PCA(n_components, svd_solver="randomized", random_state=0)
            .fit(flat[fitted])
            .transform(flat)
        )
    else:
        features = encode(encoder, images, row.preprocess)
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
    score = regression.fit(features[fitted], table["label"][fitted]).decision_function(features)
    groups = {
        "overall": np.full(len(score), True),
        "female": table["sex"] == "female",
        "male": table["sex"] == "male",
        "under 60": table["age"] < 60,
        "60 and over": table["age"] >= 60,
    }
    held_out = {name: rows & ~fitted for name, rows in groups.items()}
    return {
        name: round(float(roc_auc_score(table["label"][at], score[at])), 4)
        for name, at in held_out.items()
    }


def encode(
    encoder: ViT, images: UInt8[np.ndarray, "n h w"], preprocess: Preprocess, batch: int = 256
) -> np.ndarray:
    """The features (n, d) that are linear-probed."""
    graph, state = nnx.split(encoder)
    features = jax.jit(
        lambda state, images: nnx.merge(graph, state).probe_features(normalize(images, preprocess))
    )
    padded = np.concatenate([images, np.zeros((-len(images) % batch, *images.shape[1:]), np.uint8)])
    parts = [
        np.asarray(features(state, padded[at : at + batch])) for at in range(0, len(padded), batch)
    ]
    return np.concatenate(parts)[: len(images)]


# -------------------------------------------------------------------------------------------------
# command line


def thaw(config: Any) -> dict[str, Any]:
    """Nested mappings as plain dicts."""
    return {
        key: thaw(value) if isinstance(value, Mapping) else value for key, value in config.items()
    }


def main() -> None:
    """Reads the flags, pretrains, and prints what was measured; the flags are this command's, not
    the module's.
    """
    config = config_flags.DEFINE_config_file(
        "config", None, "What is learnt from what: configs/pretrain_phantom.py."
    )
    out = flags.DEFINE_string("out", None, "The model directory to be written.", required=True)
    flags.mark_flag_as_required("config")

    def run(argv: list[str]) -> None:
        if len(argv) > 1:
            raise UserError(
                f"unexpected argument {argv[1]!r}; settings are given as --config.key=value"
            )
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # orbax logs every file it opens
        measured = pretrain(config.value.to_dict(), Path(out.value))["pretraining"]
        for name in ("probe", "untrained_probe", "pixels_probe"):
            print(
                f"{name:16}",
                "  ".join(f"{group} {auc:.3f}" for group, auc in measured[name].items()),
            )
        print(f"loss {measured['final_loss']}, weights in {out.value}")

    try:
        app.run(run)
    except UserError as error:
        print(f"fairjax: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
