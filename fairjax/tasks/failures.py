"""What failed while the rest continued."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from fairjax.utils.errors import UserError
from fairjax.utils.storage import write_json


class Failures:
    """Records errors in `failures.json` of a work directory, so that the rest can continue.

    Args:
      path: the work directory.
      what: what fails, singular.
    """

    def __init__(self, path: Path, what: str = "condition"):
        self.path, self.what = path / "failures.json", what
        self.found: dict[str, Exception] = {}
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Catches what fails within, and writes it down under a name."""
        try:
            yield
        except Exception as error:
            self.found[name] = error
            write_json(
                self.path,
                [{self.what: key, **self._facts(found)} for key, found in self.found.items()],
            )

    def notes(self) -> list[str]:
        """A line for each, for the report."""
        return [
            f"The {self.what} {name} failed: {self._line(error)}"
            for name, error in self.found.items()
        ]

    def raise_if_all(self, n: int) -> None:
        """Raises the first error if nothing else is left."""
        if len(self.found) == n:
            raise next(iter(self.found.values()))

    def raise_if_any(self) -> None:
        """Raises a `UserError` that says how many failed, and where to read on."""
        if self.found:
            name, error = next(iter(self.found.items()))
            raise UserError(
                f"{len(self.found)} {self.what}(s) failed, {name} first ({self._line(error)}); "
                f"all others are done; see {self.path}; the same command tries the failed again"
            )

    def _facts(self, error: Exception) -> dict[str, str]:
        trace = (
            {}
            if isinstance(error, UserError)
            else {"traceback": "".join(traceback.format_exception(error))}
        )
        return {"error": self._line(error), **trace}

    @staticmethod
    def _line(error: Exception) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        return text if isinstance(error, UserError) else f"{type(error).__name__}: {text[:300]}"
