"""Checkpoints on the Hub: from the local cache, else by download, else a quick clear failure."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
import urllib.error
import urllib.request
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
)

from kronos.weights.folder import (
    CARD_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    CheckpointError,
    one_line,
)

__all__ = ["fetch"]


def fetch(
    repo: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """A local folder with the arguments and the weights of ``repo``, and its card if it has one.

    The cache is looked at first, so a checkpoint that was fetched once needs no network; a
    moved branch is then not noticed: pass ``force_download`` or a ``revision``. Raises
    :class:`CheckpointError` within about a second when the Hub cannot be reached.
    """
    if not force_download and (folder := cached_folder(repo, revision, cache_dir)):
        return folder
    what = f"{repo}@{revision}" if revision else repo
    absent = f"{what} is neither a folder nor in the local Hub cache"
    if local_files_only or constants.HF_HUB_OFFLINE:
        raise CheckpointError(f"{absent}, and offline mode is on; {advice(repo)}")
    if not reachable(constants.ENDPOINT):
        raise CheckpointError(
            f"{absent}, and {constants.ENDPOINT} cannot be reached; {advice(repo)}"
        )
    try:
        return download(repo, revision, cache_dir, force=force_download, token=token)
    except Exception as error:  # a broken transfer raises whatever the HTTP library has for it
        raise CheckpointError(
            f"{what} cannot be fetched from {constants.ENDPOINT}: {one_line(error)}"
        ) from error


def cached_folder(repo: str, revision: str | None, cache_dir: str | Path | None) -> Path | None:
    """The snapshot folder in the local cache that holds the arguments and the weights, or None."""
    folder = None
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        try:
            path = try_to_load_from_cache(repo, name, cache_dir=cache_dir, revision=revision)
        except HFValidationError:
            return None
        if not isinstance(path, str):
            return None
        folder = Path(path).parent
    return folder


def download(
    repo: str,
    revision: str | None,
    cache_dir: str | Path | None,
    *,
    force: bool,
    token: str | bool | None,
) -> Path:
    folder = None
    for name in (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE):
        try:
            path = hf_hub_download(
                repo,
                name,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force,
                token=token,
            )
        except EntryNotFoundError as error:
            # The local kind says that the network failed, not that the file is not there.
            if name == CARD_FILE and not isinstance(error, LocalEntryNotFoundError):
                continue
            raise
        verify(Path(path))
        folder = Path(path).parent
        # Every file after the first comes from the same commit, even if the branch moves now.
        revision = folder.name
    assert folder is not None
    return folder


def verify(path: Path) -> None:
    """Raise OSError, and drop the file, unless its content has the hash that the Hub announced.

    The Hub client compares sizes only. It files a blob under its announced hash: SHA-256 of large
    files, the hash of a Git blob of small ones. Other names (mirrors, no symlinks) say nothing.
    """
    blob = path.resolve()
    announced = blob.name
    if re.fullmatch(r"[0-9a-f]{64}", announced):
        digest = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", announced):
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size)
    else:
        return
    with blob.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != announced:
        blob.unlink()
        path.unlink(missing_ok=True)
        raise OSError(f"{path.name} has hash {digest.hexdigest()}, {announced} was announced")


def reachable(endpoint: str, timeout_s: float = 1.0) -> bool:
    """Whether anything answers HTTP at ``endpoint``, through the proxies of the environment.

    The Hub client itself retries for 23 s before it gives up. Name resolution has no timeout of
    its own, hence the thread.
    """
    answered = threading.Event()

    def probe() -> None:
        try:
            request = urllib.request.Request(endpoint, method="HEAD")
            urllib.request.urlopen(request, timeout=timeout_s).close()
        except urllib.error.HTTPError:
            pass
        except urllib.error.URLError as error:
            # The Hub client brings its own certificates; it shall judge this one.
            if not isinstance(error.reason, ssl.SSLError):
                return
        except (OSError, ValueError):
            return
        answered.set()

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return answered.is_set()


def advice(repo: str) -> str:
    return (
        f"on a machine with network run `hf download {repo}` and copy its ~/.cache/huggingface/hub "
        f"here, or name a folder made by `hf download {repo} --local-dir FOLDER`"
    )
