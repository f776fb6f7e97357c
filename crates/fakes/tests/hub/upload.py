"""Uploads large files in every form that the client takes, and remembers what they were."""

import json
import os

from common import api, folder
from huggingface_hub import CommitOperationAdd

REPO = "acme/large"
api.create_repo(REPO)
contents = {"m.zip": os.urandom(2_500_000), "models/bytes.safetensors": os.urandom(700_000), "same.bin": b""}
contents["same.bin"] = contents["m.zip"]
source = folder / "m.zip"
source.write_bytes(contents["m.zip"])
path, data, again = contents
api.upload_file(path_or_fileobj=source, path_in_repo=path, repo_id=REPO)
commit = api.create_commit(
    REPO,
    [CommitOperationAdd(data, contents[data]), CommitOperationAdd(again, contents[again])],
    commit_message="From memory, and content that is there",
)
contents["stream.onnx"] = os.urandom(100_000)
with open(folder / "stream", "w+b") as stream:
    stream.write(contents["stream.onnx"])
    stream.seek(0)
    api.upload_file(path_or_fileobj=stream, path_in_repo="stream.onnx", repo_id=REPO)

proposed = api.upload_file(
    path_or_fileobj=contents["m.zip"][:300_000], path_in_repo="part.zip", repo_id=REPO, create_pr=True
)
assert api.get_paths_info(REPO, "part.zip", revision=proposed.pr_revision)[0].lfs.size == 300_000

tree = {entry.path: entry for entry in api.list_repo_tree(REPO, recursive=True)}
for name, content in contents.items():
    assert tree[name].lfs.size == len(content), name
json.dump({name: content.hex() for name, content in contents.items()}, open(folder.parent / "contents.json", "w"))
print("proved")
