"""The wheel: one top-level package, with everything that its commands need in a folder outside the repository."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers.commands import ROOT
from helpers.golden import recording_of, recordings

pytestmark = pytest.mark.slow
BUILD = "from setuptools import build_meta; print(build_meta.build_{kind}({out!r}))"
NEEDED = [
    "__init__.pyi",
    "cli.py",
    "py.typed",
    "configs/quickstart.py",
    "converters/rules/clip.py",
    "launchers/slurm.py",
    "models/weights/phantom_vit/card.json",
    "models/weights/phantom_vit/weights/ocdbt.process_0/manifest.ocdbt",
    "register/__init__.pyi",
    "report/templates/page.html",
    "report/templates/style.css",
]


def build(kind, source, out):
    """Builds a wheel or an sdist of a source tree, and returns its path."""
    code = BUILD.format(kind=kind, out=str(out))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True
    )
    return out / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what packaging looks at, its symlinks kept."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("configs", "converters", "fairjax", "launch"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def fairjax(wheel, tmp_path_factory):
    """Runs the installed console script in an empty folder outside the repository."""
    site, empty = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--target", site, wheel], check=True, timeout=300)

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, site / "bin" / "fairjax", *map(str, arguments)],
            cwd=empty,
            env=os.environ | {"PYTHONPATH": str(site), "FAIRJAX_CACHE": str(empty / "cache")},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder = empty
    return run


def files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_puts_one_package_into_site_packages(wheel):
    names = files(wheel)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"fairjax"}
    assert {f"fairjax/{name}" for name in NEEDED} <= set(names)
    inside = {path.relative_to(ROOT) for path in Path(ROOT, "fairjax").rglob("*.py")}
    assert {str(path) for path in inside} <= set(names)


def test_a_wheel_from_the_sdist_is_the_same(source, wheel, tmp_path):
    with tarfile.open(build("sdist", source, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert sorted(files(build("wheel", unpacked, tmp_path))) == sorted(files(wheel))


def test_a_packaged_experiment_and_ones_own_run_from_an_empty_folder(fairjax):
    small = ["--config.dataset.n_patients=240", "--config.n_boot=0", "--config.training.epochs=2"]
    fairjax("launch", "--config=quickstart", *small, "--workdir=work")
    assert (fairjax.folder / "work" / "report" / "index.html").is_file()
    own = fairjax.folder / "configs"
    own.mkdir()
    (own / "__init__.py").touch()
    (own / "common.py").write_text("PATIENTS = 300\n")
    (own / "mine.py").write_text(
        "from configs.common import PATIENTS\n"
        "from fairjax.configs import common\n"
        "def get_config():\n"
        "    config = common.base('synthetic')\n"
        "    config.model.name = 'phantom_vit'\n"
        "    config.dataset.n_patients = PATIENTS\n"
        "    return config\n"
    )
    assert "of 300 " in fairjax("launch", "--config=configs/mine.py", "--dry_run")
    assert "of 240 " in fairjax("launch", "--config=quickstart", *small, "--dry_run")


def test_an_audit_runs_from_an_empty_folder(fairjax):
    shutil.copy(ROOT / "examples" / "predictions.csv", fairjax.folder)
    columns = ["--label=lesion", "--score=probe", "--group=sex", "--cluster=patient"]
    fairjax("audit", "predictions.csv", *columns, "--n_boot=0", "--n_permutations=0")
    assert (fairjax.folder / "audits" / "predictions" / "report.html").is_file()


@pytest.mark.skipif(not recordings(), reason="there are no recordings")
def test_a_checkpoint_is_converted_from_an_empty_folder(fairjax):
    clip = recording_of("clip")
    arch = f"--arch={clip.folder / 'config.json'}"
    checkpoint = f"--checkpoint={clip.weights_file}"
    assert "clip: " in fairjax("convert", "--model=clip", checkpoint, arch, "--out=clip")
    assert (fairjax.folder / "clip" / "card.json").is_file()
