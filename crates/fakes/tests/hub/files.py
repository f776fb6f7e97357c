"""Files: add, copy, delete, propose; lists of them, their metadata, and their content."""

import hashlib
import os

from common import api, endpoint, folder, refused, version
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfFileSystem,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.errors import EntryNotFoundError

REPO = "acme/cars"
api.create_repo(REPO)
weights = os.urandom(150_000)
first = api.create_commit(
    REPO,
    [
        CommitOperationAdd("weights/m.bin", weights),
        CommitOperationAdd("docs/a b#c.json", b"{}"),
        CommitOperationAdd("docs/old.md", b"old\n"),
        CommitOperationAdd("old/deep/x.txt", b"x"),
    ],
    commit_message="All at once",
    commit_description="with a reason",
)
second = api.create_commit(
    REPO,
    [
        CommitOperationCopy("weights/m.bin", "weights/copy.bin"),
        CommitOperationCopy("docs/a b#c.json", "docs/copy.json"),
        CommitOperationDelete("old/"),
        CommitOperationDelete("docs/old.md"),
    ],
    commit_message="Copies",
    parent_commit=first.oid,
)
unchanged = api.upload_file(path_or_fileobj=weights, path_in_repo="weights/m.bin", repo_id=REPO)
assert unchanged.oid == second.oid, "what has not changed makes no commit"

everything = ["docs/a b#c.json", "docs/copy.json", "weights/copy.bin", "weights/m.bin"]
assert sorted(api.list_repo_files(REPO)) == everything, "the tree comes in pages of two"
assert [entry.path for entry in api.list_repo_tree(REPO)] == ["docs", "weights"]
assert [entry.path for entry in api.list_repo_tree(REPO, "docs")] == everything[:2]
tree = {entry.path: entry for entry in api.list_repo_tree(REPO, recursive=True, expand=True)}
assert sorted(tree) == sorted(["docs", "weights", *everything])
assert tree["weights/m.bin"].lfs.sha256 == hashlib.sha256(weights).hexdigest()
assert tree["weights/m.bin"].blob_id == tree["weights/copy.bin"].blob_id
assert tree["docs/a b#c.json"].blob_id == hashlib.sha1(b"blob 2\0{}").hexdigest()
assert tree["weights/m.bin"].last_commit.oid == tree["docs/a b#c.json"].last_commit.oid == first.oid
assert tree["weights/copy.bin"].last_commit.title == tree["docs"].last_commit.title == "Copies"

file, directory = api.get_paths_info(REPO, ["docs/copy.json", "absent", "docs"], expand=True)
assert (file.size, file.last_commit.oid, directory.path) == (2, second.oid, "docs")
assert api.get_paths_info(REPO, "docs")[0].last_commit is None

siblings = {each.rfilename: each for each in api.model_info(REPO, files_metadata=True).siblings}
assert siblings["weights/m.bin"].lfs["sha256"] == hashlib.sha256(weights).hexdigest()
assert siblings["docs/copy.json"].size == 2
expanded = api.model_info(REPO, expand=["sha", "xetEnabled", "usedStorage"])
assert (expanded.sha, expanded.siblings, expanded.author) == (second.oid, None, None)
assert vars(expanded).get("used_storage", vars(expanded).get("usedStorage")) == 2 * len(weights) + 4

path = hf_hub_download(REPO, "docs/a b#c.json")
assert open(path, "rb").read() == b"{}"
again = hf_hub_download(REPO, "docs/a b#c.json", revision=first.oid)
assert os.path.realpath(again) == os.path.realpath(path), "two commits share what has not changed"
old = snapshot_download(REPO, revision=first.oid)
assert open(f"{old}/docs/old.md", "rb").read() == b"old\n" and open(f"{old}/weights/m.bin", "rb").read() == weights
only = snapshot_download(REPO, allow_patterns="docs/*", local_dir=folder / "only")
assert sorted(os.listdir(f"{only}/docs")) == ["a b#c.json", "copy.json"] and not os.path.exists(f"{only}/weights")
metadata = get_hf_file_metadata(hf_hub_url(REPO, "weights/m.bin"))
assert (metadata.commit_hash, metadata.size) == (second.oid, len(weights))

files = HfFileSystem()
assert sorted(files.ls(REPO, detail=False)) == [f"{REPO}/docs", f"{REPO}/weights"]
assert sorted(files.find(REPO)) == [f"{REPO}/{path}" for path in everything]
assert files.info(f"{REPO}/weights/m.bin")["size"] == len(weights)
with files.open(f"{REPO}/weights/m.bin", "rb", block_size=50_000) as opened:
    opened.seek(100_000)
    assert opened.read(10) == weights[100_000:100_010]
assert files.read_text(f"hf://{REPO}@{first.oid}/docs/old.md") == "old\n"
assert not files.exists(f"{REPO}/docs/old.md")
with files.open(f"{REPO}/docs/new.md", "w") as opened:
    opened.write("new\n")


def get(path):
    from huggingface_hub.utils import get_session

    return get_session().get(f"{endpoint}/{REPO}/raw/main/{path}")


assert get("docs/new.md").text == "new\n"
pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(weights).hexdigest()}\nsize 150000\n"
assert get("weights/m.bin").text == pointer
absent = get("absent")
assert (absent.status_code, absent.headers["x-error-code"], absent.text) == (404, "EntryNotFound", "Entry not found")

if version >= (1, 0):
    api.create_repo("acme/other")
    source = {"src_repo_id": REPO, "src_repo_type": "model"}
    api.create_commit(
        "acme/other",
        [
            CommitOperationCopy("weights/m.bin", "m.bin", **source),
            CommitOperationCopy("docs/copy.json", "c.json", **source),
        ],
        commit_message="From another repo",
    )
    assert open(hf_hub_download("acme/other", "m.bin"), "rb").read() == weights
    assert open(hf_hub_download("acme/other", "c.json"), "rb").read() == b"{}"

refused(404, lambda: api.delete_file("absent.md", REPO), EntryNotFoundError, "EntryNotFound")
api.upload_file(path_or_fileobj=b"bye", path_in_repo="bye.md", repo_id=REPO)
api.delete_file("bye.md", REPO)
upload = folder / "upload"
(upload / "sub").mkdir(parents=True)
(upload / "README.md").write_text("---\nlicense: mit\n---\n# Cars\n")
(upload / "sub/skipped.txt").write_text("no")
api.upload_folder(folder_path=upload, repo_id=REPO, ignore_patterns="*.txt")
assert api.model_info(REPO).card_data.license == "mit"
print("proved")
