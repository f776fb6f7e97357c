"""Selects and downloads a release with the official client, as the backend does.

Arguments: the endpoint, the token, an empty folder. Prints the version that serves as the cache key, and the SHA-256.
"""

import fnmatch
import hashlib
import os
import pathlib
import sys

endpoint, token, folder = sys.argv[1:]
os.environ.update(HF_ENDPOINT=endpoint, HF_HOME=f"{folder}/home", HF_HUB_DISABLE_TELEMETRY="1")

from huggingface_hub import HfApi, hf_hub_download  # noqa: E402

REPO = "acme/cars"
files = fnmatch.filter(HfApi(token=token).list_repo_files(REPO), "models/finetuned-embedding-model-*.zip")
newest = sorted(files, reverse=True)[0]
version = newest.split("-")[-1].split(".")[0]
archive = pathlib.Path(hf_hub_download(REPO, newest, token=token)).read_bytes()
print(version, hashlib.sha256(archive).hexdigest())
