"""Every key that a configuration has, with its default. The files beside this one start from here."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from fairjax.datasets.phantoms import PhantomConfig
from fairjax.utils.errors import UserError, did_you_mean

# Keys of `dataset` that are options of one loader: those of a user's own table, and of the
# phantoms' cohort.
OPTIONS = {
    "table": {
        "table": "",
        "image": "image",
        "label": "label",
        "patient": "",
        "positive": ("1",),
        "negative": ("0",),
        "missing": ("unknown",),
        "mask": "",
        "mask_classes": ("foreground",),
        "dimensions": "2D",  # "2.5D" or "3D" where paths are of volumes
        "window": (),  # (low, high) of DICOM files and volumes: what becomes black and white
        "axis": "axial",
        "spacing": (),  # mm (slices, rows, columns) that volumes are resampled to
    },
    "synthetic": dataclasses.asdict(PhantomConfig()),
}
DECLARED = {  # those of the datasets in the catalog
    "positive": (),  # values of the label, where not the catalog's
    "rare": "missing",  # what becomes of rare values of an attribute; or "group": one of their own
    "spacing": (),
}


def dataset_options(dataset: str) -> dict[str, object]:
    """What a sweep over datasets says of each: where it is, its attributes (() for the sweep's),
    its own options.
    """
    return {"root": "", "bins": "", "attributes": (), **OPTIONS.get(dataset, DECLARED)}


def base(dataset: str) -> ConfigDict:
    """Returns the defaults for experiments on a dataset."""
    return ConfigDict(
        {
            "task": "classification",
            "seed": 0,  # of the experiment: splits, initialisation, order, bootstrap
            "seeds": 16,  # runs per combination of hyper-parameters
            "n_boot": 2000,  # bootstrap replicates over patients; 0: no intervals
            "attributes": ("sex", "age"),
            # embeddings and compiled programs; '' is $FAIRJAX_CACHE or ~/.cache/fairjax
            "cache_dir": "",
            "memory_gib": 4.0,  # budget of one device
            "dataset": {
                "name": dataset,
                "root": "",
                "fractions": (0.6, 0.15, 0.25),  # of the patients: train, validation, test
                "split": "stratified",  # or "hash", "kfold", "leave_one_out", "file": see fairjax/datasets/splits.py
                "test": "natural",  # or "balanced" over the groups of `balance_on`
                "balance_on": "",
                "folds": 5,
                "fold": 0,  # of `kfold`: which of the folds is the test
                "site": "",  # of `leave_one_out`: the attribute, and its group that is the test
                "hold_out": "",
                # of `file`: a CSV with the columns patient and split, as a run writes it
                "split_file": "",
                "bins": "",  # group boundaries of continuous attributes: "age=40,60"
                "slices": 0,  # of each volume, evenly spaced; 0: all
                "middle": 1.0,  # share of the depth that they are taken from, about its middle
                "pool": "max",  # or "mean": the score of a volume from those of its slices
                **OPTIONS.get(dataset, DECLARED),
            },
            "model": {
                "name": "",
                # a folder that `python -m converters` wrote; '' for a model that ships with fairjax
                "checkpoint": "",
                "preprocess": "own",  # the model's; "compat": FairMedFM's, one for all models
                "image_size": 0,  # pixels; 0 is the preprocessing's own
                "dtype": "float32",  # of the tower's computation; "bfloat16" on accelerators
            },
            "embedding": {
                "batch_size": 32,  # images
                "shard_batches": 8,  # batches per shard of the cache: what a kill can lose
                "threads": 4,
                "processes": 0,  # reader processes; 0 reads in threads
                "max_unreadable": 0.01,  # share of images
            },
            "training": {
                "usages": ("linear_probe",),  # of fairjax.tasks.classification.usages.USAGES
                "methods": (
                    "erm",
                ),  # of fairjax.training.objectives.METHODS, each in its wrappers: "group_dro+swad"
                # attributes that methods are told of, each in runs of its own; () for all
                "sensitive": (),
                # of fairjax.training.postprocessing.table.POSTPROCESSORS, each on top of every
                # method
                "postprocess": (),
                "strengths": (
                    "default",
                ),  # of each method; ("path",) for its own series, or numbers for all methods
                "select": "overall",  # or "minimax", "dto": which strength and rates validation chooses for a method
                "learning_rates": (2.5e-4,),
                "weight_decays": (0.05,),
                "epochs": 100,
                "warmup_epochs": 5,
                "final_lr_fraction": 0.04,
                "batch_size": 128,
                "class_weight": "none",  # or "balanced"
                "standardize": True,
                "order": "shared",  # or "per_run"
                "resample": "none",  # or "patients": each seed trains on a bootstrap of the training patients
                "patience": 0,  # epochs; 0 trains to the end
                "keep": "auto",  # "best" epoch by validation loss, "last", or best where "erm" is the only method
                "lora_ranks": (8,),  # a usage each
                "lora_alpha": 16.0,
                # of sharpness-aware minimisation, where a method has a strength of its own
                "radius": 0.05,
            },
            # that describe the classes to a model with a text tower; () for the dataset's own
            "prompts": {
                # with a {} for the name: every template with every name of a class
                "templates": (),
                "negative": (),
                "positive": (),
            },
            "evaluation": {
                "policy": "strict",
                # chosen on validation: f1, youden, sensitivity=0.9, specificity=0.9, or a number
                "threshold": "f1",
                "confidence": 0.95,
                "min_group": 5,  # patients per class below which a group gets no number
                "one_class": "error",  # a group with one class in the whole dataset: "error" or "report"
            },
        }
    )


def segmentation(dataset: str) -> ConfigDict:
    """Returns the defaults for prompted segmentation: those of `base`, and sections `prompting` and
    `mitigation`.
    """
    config = base(dataset)
    config.task = "segmentation"
    config.evaluation.one_class = "report"  # what is compared is masks, not classes
    config.embedding.batch_size = 4
    config.embedding.shard_batches = 4
    config.prompting = ConfigDict(
        {
            "prompts": "center+rand+rands+bbox",  # of segmentation.prompts.KINDS; there is also "interior"
            "draws": 5,  # of each random prompt: their spread is part of the intervals
            "jitter": 0.0,  # of the boxes' edges, as a share of their sides
            "objects": "class",  # or "component", "largest", "left", "right": of segmentation.objects.MODES
            "min_pixels": 1,  # smaller objects are left out
            "most_objects": 8,  # per image and class, the largest ones
            # a sample of the images (of volumes, the volumes) that have masks; 0 for all
            "most_images": 0,
            "measures": ("dice", "iou", "nsd", "hd95"),
            "tolerance": 2.0,  # of nsd, in the unit of `spacing`
            # edge in mm of the pixels of images that do not tell it (as DICOM files and volumes do)
            "spacing": 1.0,
            # longer side, in pixels, that larger images are compared at; 0 for their own
            "mask_size": 0,
            "intersections": True,  # whether all attributes are also crossed
            "shown": "bbox",  # the prompt that the report speaks of
            "cases": 8,  # worst cases that the report shows
        }
    )
    config.mitigation = ConfigDict(
        {
            "methods": (),  # of segmentation.tuning.losses.METHODS: "erm", "resampling", "group_dro", "febs", …
            "attribute": "",  # whose groups the methods are told of; "" for the first of `attributes`
            "strengths": (),  # of the methods that have one; () for each method's own default
            "learning_rates": (1e-4,),
            "seeds": 3,
            "epochs": 10,
            "warmup_epochs": 1,
            "final_lr_fraction": 0.04,
            "batch_size": 4,  # objects per step
            "weight_decay": 0.01,
            # of additions to the image encoder's attention; above 0 every step encodes its images
            "lora_rank": 0,
            "choose": "overall",  # or "worst" group: the Dice that picks epoch, rate and strength on validation
            "prompts": "",  # of the training objects; "" for those of `prompting`
            "draws": 4,  # of each random prompt, from which a step takes one
            "jitter": 0.1,  # of the training boxes
        }
    )
    return config


def parse_argument(argument: str | None, **defaults: str) -> dict[str, str]:
    """Reads `a=x,b=y`, the part of `--config=FILE.py:a=x,b=y` after the colon.

    Raises:
      UserError: a key is not among `defaults`, or has no value.
    """
    values = dict(defaults)
    for part in filter(None, (argument or "").split(",")):
        key, equals, value = part.partition("=")
        if key not in defaults:
            raise UserError(f"unknown config argument {key!r}{did_you_mean(key, defaults)}")
        if not equals or not value:
            raise UserError(f"config argument {key!r} needs a value: {key}=…")
        values[key] = value
    return values
