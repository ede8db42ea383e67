"""Prompted segmentation of a dataset with true masks, by group.

    python -m converters --model=mobile_sam --checkpoint=mobile_sam.safetensors \
        --out=checkpoints/mobile_sam
    python -m fairjax.launch \
        --config=configs/segmentation.py:dataset=isic2017,model=mobile_sam,prompts=rand+bbox \
        --config.dataset.root=DIR --config.model.checkpoint=checkpoints/mobile_sam

Measured with mobile_sam on 100 images of isic2017 (prompting.max_images=100, one draw): mean Dice
of the mask that the model rates best, and of the best mask:

    center  0.410 [0.350, 0.471]   0.602 [0.541, 0.661]
    rand    0.392 [0.332, 0.453]   0.542 [0.477, 0.603]
    bbox    0.850 [0.827, 0.868]   0.873 [0.854, 0.890]   predicted: sex 0.009 [0.000, 0.055]
                                                    age 0.013 [0.000, 0.069]

and on 100 images of covid_cxr, the lung on the left of the image (objects=left):

    bbox    0.879 [0.866, 0.891]   sex 0.030 [0.006, 0.053]*   age 0.021 [0.000, 0.045]

Mitigation tunes the mask decoder on cached image embeddings:

    --config.mitigation.methods=erm,resampling,group_dro,febs \
    --config.mitigation.sensitive_attribute=age

At 256 pixels, 72 images to train on and 72 to test, 4 epochs, one seed, strength 1: Dice of a box
0.881 frozen, 0.893 by ERM (difference 0.012 [0.002, 0.023]), 0.893 by GroupDRO, 0.884 by FEBS; of a
random point 0.280, 0.802, 0.799 and 0.772.
"""

from ml_collections import ConfigDict

from fairjax.configs import common


def get_config(argument: str | None = None) -> ConfigDict:
    """Returns FairMedFM's four prompts, five draws of the random ones, at the model's own size."""
    chosen = common.parse_argument(
        argument,
        dataset="isic2017",
        model="mobile_sam",
        prompts="center+rand+rands+bbox",
        objects="class",
    )
    config = common.segmentation(chosen["dataset"], chosen["model"])
    config.prompting.prompts = chosen["prompts"]
    config.prompting.objects = chosen["objects"]
    return config
