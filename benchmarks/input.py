"""Images per second that are decoded and preprocessed, against PyTorch's DataLoader, in one run.

    python benchmarks/input.py                  # 1,024 JPEGs of 512 × 512 to 224 × 224
    python benchmarks/input.py --images=256 --repeats=1

There is no model. Both read the same files (from the page cache), decode them with Pillow, resize
them with its bicubic filter, normalise, and deliver float32 batches of 64 in the files' order;
their pixels are compared. fairjax reads as `fairjax.embeddings` does, PyTorch as a training script
is written: a Dataset of PIL images, ToTensor and Normalize in tensors, a DataLoader. Each is timed
over whole passes, with several numbers of threads or worker processes (which have started before),
and the fastest counts. The roofline is this machine's rate of decoding alone: the same files,
nothing but Pillow's decoder, on all cores.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from fairjax.datasets.readers.images import ImageFiles
from fairjax.embeddings.read import Load, batches
from fairjax.models.preprocess import Preprocess

IMAGES = flags.DEFINE_integer("images", 1024, "JPEG files.")
SIDE = flags.DEFINE_integer("side", 512, "Their height and width, in pixels.")
SIZE = flags.DEFINE_integer("size", 224, "Height and width that they are resized to, in pixels.")
BATCH = flags.DEFINE_integer("batch", 64, "Images per batch.")
REPEATS = flags.DEFINE_integer("repeats", 3, "Repetitions; the fastest counts.")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CORES = os.cpu_count() or 1


def write_files(image_dir: Path) -> list[str]:
    """Images as compressible as photographs: coarse colours, finer texture, a little noise."""
    rng = np.random.default_rng(0)
    names = [f"{i}.jpg" for i in range(IMAGES.value)]
    for name in names:
        layers = [
            Image.fromarray(rng.integers(0, 256, (n, n, 3), np.uint8)).resize((SIDE.value,) * 2, 3)
            for n in (6, 40)
        ]
        noise = rng.normal(0, 4, (SIDE.value, SIDE.value, 1))
        pixels = 0.7 * np.asarray(layers[0], float) + 0.3 * np.asarray(layers[1], float) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(image_dir / name, quality=90)
    return names


def best_rate(run: Callable[[], object]) -> float:
    """Images per second of the fastest repetition."""
    return max(IMAGES.value / run() for _ in range(REPEATS.value))  # type: ignore[operator]


def seconds(batches_of: Iterable) -> float:
    """Returns the seconds of one pass over all images."""
    started = time.perf_counter()
    for _ in batches_of:
        pass
    return time.perf_counter() - started


def decode_only(image_dir: Path, names: list[str]) -> float:
    def decode(name: str) -> None:
        with Image.open(image_dir / name) as image:
            image.load()

    with ThreadPoolExecutor(CORES) as pool:
        started = time.perf_counter()
        list(pool.map(decode, names))
        return time.perf_counter() - started


def fairjax_stream(image_dir: Path, names: list[str], threads: int) -> Iterator[np.ndarray]:
    preprocess = Preprocess(size=SIZE.value, mean=MEAN, std=STD)
    load = Load(tuple(names), ImageFiles(str(image_dir)), preprocess, (SIZE.value, SIZE.value, 3))
    for _, pixels, reasons in batches(
        load, np.arange(len(names)), BATCH.value, threads=threads, processes=0
    ):
        assert not any(reasons)
        yield pixels


def torch_loader(image_dir: Path, names: list[str], workers: int):
    import torch

    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(names)

        def __getitem__(self, index: int) -> torch.Tensor:
            image = (
                Image.open(image_dir / names[index])
                .convert("RGB")
                .resize((SIZE.value,) * 2, Image.Resampling.BICUBIC)
            )
            tensor = (
                torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
            )
            return tensor.sub_(mean).div_(std)

    loader = torch.utils.data.DataLoader(
        Images(), batch_size=BATCH.value, num_workers=workers, persistent_workers=workers > 0
    )
    seconds(loader)  # the workers have started
    return loader


def main(argv: list[str]) -> None:
    del argv
    import torch

    with tempfile.TemporaryDirectory() as made:
        image_dir = Path(made)
        names = write_files(image_dir)
        ours = next(fairjax_stream(image_dir, names, 1))
        theirs = next(iter(torch_loader(image_dir, names, 0))).permute(0, 2, 3, 1).numpy()
        print(f"largest difference of pixels: {np.abs(ours - theirs).max():.1e}")
        raw = best_rate(lambda: decode_only(image_dir, names))
        torch.set_num_threads(1)
        rates = {
            f"fairjax, {threads} threads": best_rate(
                lambda t=threads: seconds(fairjax_stream(image_dir, names, t))
            )
            for threads in (1, CORES, 2 * CORES)
        }
        for workers in (0, CORES, 2 * CORES):
            loader = torch_loader(image_dir, names, workers)
            rates[f"PyTorch, {workers} workers"] = best_rate(lambda loader=loader: seconds(loader))
    print(f"{CORES} cores, Pillow {Image.__version__}, PyTorch {torch.__version__}")
    print(f"{'decoding alone':44s} {raw:7.0f} images/s")
    for name, rate in rates.items():
        print(f"{name:44s} {rate:7.0f} images/s   {rate / raw:4.0%} of decoding")
    ours, theirs = (
        max(rate for name, rate in rates.items() if name.startswith(library))
        for library in ("fairjax", "PyTorch")
    )
    print(f"fairjax is {ours / theirs:.2f} times as fast, {ours / raw:.0%} of decoding")


if __name__ == "__main__":
    app.run(main)
