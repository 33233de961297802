"""Finished fits on disk: one file a fit, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.baselines.boosting import Fitted
from engine.baselines.fits import Job
from engine.files import replace_file

__all__ = ["FitStore"]

log = logging.getLogger(__name__)
_FACTS = "fit"


class FitStore:
    """The fits of one fingerprint: everything that changes a prediction, hashed.

    A file's name carries the fingerprint, the fold, the horizon and a hash of the dates predicted;
    one that cannot be read or holds another number of rows is fitted again.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._folder = folder
        text = json.dumps(identity, sort_keys=True, default=str)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

    def commit(self, fitted: Fitted) -> None:
        """Write a finished fit. Raises OSError."""
        facts = {"fingerprint": self.fingerprint, "gain": fitted.gain.tolist()}
        frame = pl.DataFrame({"prediction": fitted.prediction})
        replace_file(
            self._path(fitted.job),
            lambda part: frame.write_parquet(part, metadata={_FACTS: json.dumps(facts)}),
        )

    def read(self, job: Job) -> Fitted | None:
        """The finished fit, or None where it must be computed."""
        path = self._path(job)
        if not path.is_file():
            return None
        try:
            facts = json.loads(pl.read_parquet_metadata(path)[_FACTS])
            prediction = pl.read_parquet(path)["prediction"].to_numpy()
        except (pl.exceptions.PolarsError, OSError, ValueError, KeyError) as error:
            log.warning("%s is damaged and will be fitted again: %s", path.name, error)
            return None
        if facts["fingerprint"] != self.fingerprint or len(prediction) != len(job.predict):
            return None
        return Fitted(job, prediction, np.asarray(facts["gain"]))

    def _path(self, job: Job) -> Path:
        dates = hashlib.sha256(",".join(map(str, job.asofs)).encode()).hexdigest()[:8]
        name = f"{self.fingerprint[:16]}-{job.fold}-{job.horizon}-{dates}.parquet"
        return self._folder / name
