"""Image files (PNG, JPEG, TIFF, DICOM, …) as 8-bit RGB, and masks that are kept as images."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps

from fairjax.datasets.files import inside, split_fragment
from fairjax.datasets.masks import image_values
from fairjax.datasets.readers import dicom
from fairjax.datasets.readers.pixels import Window, check_size, to_uint8

# no format that runs programs
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "PPM", "WEBP", "JPEG2000")
DICOM = (".dcm", ".dicom")


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Reads image files below a folder: `reader("images/a.jpg")` → uint8 RGB (H, W, 3), turned as
    EXIF says.

    Attributes:
      root: the dataset's folder.
      window: of DICOM files, in their unit after rescaling; None: what the file says, else its
        range.
    """

    root: str
    window: Window | None = None

    def __call__(self, image: str) -> UInt8[np.ndarray, "h w 3"]:
        """Decodes one file; repeats grey over the channels, scales 16 bits to 8; `a.dcm#3` is the
        frame 3.

        Raises:
          OSError, ValueError: the file is damaged, no image, too large, or outside the root.
        """
        return np.asarray(self.picture(image))

    def pixel_spacing(self, image: str) -> tuple[float, float] | None:
        """Edges (y, x) of the pixels in mm as a DICOM file tells them; None for other files, whose
        units vary.

        Raises:
          OSError, ValueError: the file is damaged, or outside the root.
        """
        path, _ = split_fragment(image)
        return (
            dicom.pixel_spacing(inside(self.root, path)) if path.lower().endswith(DICOM) else None
        )

    def picture(self, image: str) -> Image.Image:
        """The same as a picture of Pillow's, for what works on such: an array on the way would be
        copied twice.
        """
        path, frame = split_fragment(image)
        if path.lower().endswith(DICOM):
            return Image.fromarray(dicom.read_image(inside(self.root, path), frame, self.window))
        with _opened(inside(self.root, image), image) as upright:
            # a copy of the pixels only where they must be turned
            ImageOps.exif_transpose(upright, in_place=True)
            upright.load()
        if upright.mode.startswith("I"):
            upright = Image.fromarray(to_uint8(np.asarray(upright).astype(np.float32), (0, 65535)))
        elif upright.mode == "F":
            upright = Image.fromarray(to_uint8(np.asarray(upright)))
        return upright if upright.mode == "RGB" else upright.convert("RGB")


@dataclasses.dataclass(frozen=True)
class MaskImages:
    """Reads masks kept as images below a folder: `reader("masks/a.png")` → values (H, W).

    Attributes:
      root: the dataset's folder.
    """

    root: str

    def __call__(self, path: str) -> Shaped[np.ndarray, "h w"]:
        """Decodes one file, turned as EXIF says; raises OSError on a bad one, ValueError on one in
        colours.
        """
        return read_mask_image(inside(self.root, path), path)


def read_mask_image(path: str, where: str) -> Shaped[np.ndarray, "h w"]:
    """Reads the values of a mask that is kept as an image.

    Args:
      path: the file.
      where: names it in messages.

    Raises:
      OSError, ValueError: it is damaged, too large, or in colours.
    """
    with _opened(path, where) as opened:
        return image_values(ImageOps.exif_transpose(opened), where)


def _opened(path: str, where: str) -> Image.Image:
    """Opens a file and refuses more pixels than are read; nothing is decoded yet."""
    opened: Image.Image = Image.open(path, formats=FORMATS)
    check_size(opened.size, f"image {where}")
    return opened
