"""Drives a Hub with the official Python client. Each assert checks a promise of the stand-in.

Arguments: the endpoint, the token, an empty folder. Prints `proved` at the end.
"""

import os
import pathlib
import sys

endpoint, token, folder = sys.argv[1:]
folder = pathlib.Path(folder)
os.environ.update(
    HF_ENDPOINT=endpoint,
    HF_HOME=str(folder / "home"),
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
)

from huggingface_hub import HfApi, hf_hub_download, snapshot_download  # noqa: E402
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError  # noqa: E402

REPO = "acme/cars"
api = HfApi(token=token)

api.create_repo(REPO, private=True, exist_ok=True)
api.create_repo(REPO, private=True, exist_ok=True)
assert api.whoami()["type"] == "user"
head = api.repo_info(REPO).sha
assert len(head) == 40

# An LFS file, a git file, and a file whose name must be percent-encoded.
archive = folder / "m.zip"
archive.write_bytes(os.urandom(2_500_000))
commit = api.upload_file(path_or_fileobj=archive, path_in_repo="models/m.zip", repo_id=REPO, parent_commit=head)
assert commit.oid == api.repo_info(REPO).sha != head
api.upload_file(path_or_fileobj=b"# Cars\n", path_in_repo="README.md", repo_id=REPO)
api.upload_file(path_or_fileobj=b"{}", path_in_repo="models/a b#c.json", repo_id=REPO)

assert sorted(api.list_repo_files(REPO)) == ["README.md", "models/a b#c.json", "models/m.zip"]
tree = {entry.path: entry for entry in api.list_repo_tree(REPO, recursive=True)}
assert tree["models/m.zip"].lfs.size == 2_500_000
[info] = api.get_paths_info(REPO, ["models/m.zip", "absent"])
assert info.lfs.sha256 == tree["models/m.zip"].lfs.sha256

path = hf_hub_download(REPO, "models/m.zip", token=token)
assert pathlib.Path(path).read_bytes() == archive.read_bytes()
again = hf_hub_download(REPO, "models/m.zip", token=token)
assert again == path

snapshot = pathlib.Path(snapshot_download(REPO, token=token))
assert (snapshot / "README.md").read_bytes() == b"# Cars\n"
assert (snapshot / "models/a b#c.json").read_bytes() == b"{}"
old = pathlib.Path(snapshot_download(REPO, revision=commit.oid, token=token))
assert not (old / "README.md").exists() and (old / "models/m.zip").exists()


def status(call):
    try:
        call()
    except HfHubHTTPError as error:
        return error.response.status_code
    raise AssertionError("nothing was refused")


def refused(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


# The Hub compares the parent commit, and stored content needs no second upload.
late = {"path_in_repo": "models/late.zip", "repo_id": REPO, "parent_commit": head}
assert status(lambda: api.upload_file(path_or_fileobj=archive, **late)) == 412
assert status(lambda: HfApi(token="wrong").upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=REPO)) == 401
refused(EntryNotFoundError, lambda: hf_hub_download(REPO, "models/absent.zip", token=token))
refused(RepositoryNotFoundError, lambda: api.repo_info("acme/absent"))
refused(RepositoryNotFoundError, lambda: HfApi(token=False).repo_info(REPO))

api.delete_file("README.md", repo_id=REPO)
assert "README.md" not in api.list_repo_files(REPO)
print("proved")
