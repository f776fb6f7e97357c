"""Branches, tags, pull requests, and revisions that name any of them."""

from common import api, refused
from huggingface_hub.errors import BadRequestError, RevisionNotFoundError

REPO = "acme/cars"
api.create_repo(REPO)
first = api.model_info(REPO).sha
for number in range(4):
    text = f"{number}"
    api.upload_file(path_or_fileobj=text.encode(), path_in_repo="n.txt", repo_id=REPO, commit_message=text)
head = api.model_info(REPO).sha

api.create_branch(REPO, branch="feature/x")
api.create_branch(REPO, branch="from-first", revision=first)
api.create_branch(REPO, branch="from-branch", revision="from-first")
api.create_branch(REPO, branch="feature/x", exist_ok=True)
refused(409, lambda: api.create_branch(REPO, branch="main"), sentence="Reference refs/heads/main already exists")
missing = lambda: api.create_branch(REPO, branch="y", revision="absent")  # noqa: E731
refused(404, missing, RevisionNotFoundError, "RevisionNotFound", "Invalid rev id: absent")
refused(400, lambda: api.create_branch(REPO, branch="refs/pr/5"), BadRequestError)
branches = {ref.name: ref.target_commit for ref in api.list_repo_refs(REPO).branches}
assert branches == {"main": head, "feature/x": head, "from-first": first, "from-branch": first}, branches

# A commit to a branch is seen there and nowhere else.
commit = api.upload_file(
    path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=REPO, revision="feature/x", commit_description="in two\nlines"
)
assert api.model_info(REPO, revision="feature/x").sha == commit.oid
assert sorted(api.list_repo_files(REPO, revision="feature/x")) == ["n.txt", "x.txt"]
assert api.list_repo_files(REPO) == ["n.txt"]
assert api.file_exists(REPO, "x.txt", revision="feature/x") and not api.file_exists(REPO, "x.txt")

api.create_tag(REPO, tag="v1", tag_message="first", revision="feature/x")
api.create_tag(REPO, tag="short", revision=first[:7])
refused(409, lambda: api.create_tag(REPO, tag="v1"))
api.create_tag(REPO, tag="v1", exist_ok=True)
refused(400, lambda: api.create_tag(REPO, tag="invalid tag"), BadRequestError)
tags = {ref.name: (ref.ref, ref.target_commit) for ref in api.list_repo_refs(REPO).tags}
assert tags == {"v1": ("refs/tags/v1", commit.oid), "short": ("refs/tags/short", first)}, tags
assert api.revision_exists(REPO, "v1") and not api.revision_exists(REPO, "v2")

# The history is cut into pages of three.
commits = list(api.list_repo_commits(REPO, formatted=True))
assert [commit.title for commit in commits] == ["3", "2", "1", "0", "initial commit"]
assert [commit.commit_id for commit in commits][-1] == first and commits[0].authors == ["acme"]
assert commits[0].formatted_title == "3"
newest = list(api.list_repo_commits(REPO, revision="v1"))[0]
assert (newest.commit_id, newest.message) == (commit.oid, "in two\nlines")

proposed = api.upload_file(path_or_fileobj=b"y", path_in_repo="y.txt", repo_id=REPO, create_pr=True)
assert (proposed.pr_revision, proposed.pr_num) == ("refs/pr/1", 1), proposed
assert api.model_info(REPO).sha == head, "a pull request leaves main as it is"
assert sorted(api.list_repo_files(REPO, revision="refs/pr/1")) == ["n.txt", "y.txt"]
api.upload_file(path_or_fileobj=b"z", path_in_repo="z.txt", repo_id=REPO, revision="refs/pr/1")
assert sorted(api.list_repo_files(REPO, revision="refs/pr/1")) == ["n.txt", "y.txt", "z.txt"]
older = {"path_in_repo": "o.txt", "repo_id": REPO, "create_pr": True, "parent_commit": first}
assert api.upload_file(path_or_fileobj=b"o", **older).pr_revision == "refs/pr/2"
assert api.list_repo_files(REPO, revision="refs/pr/2") == ["o.txt"], "it starts at its parent"
assert len(api.list_repo_refs(REPO, include_pull_requests=True).pull_requests) == 2
assert api.list_repo_refs(REPO).pull_requests is None

refused(403, lambda: api.delete_branch(REPO, branch="main"), sentence="Cannot delete refs/heads/main")
api.delete_branch(REPO, branch="feature/x")
for absent in [lambda: api.model_info(REPO, revision="feature/x"), lambda: api.delete_branch(REPO, branch="feature/x")]:
    refused(404, absent, RevisionNotFoundError, "RevisionNotFound", "Invalid rev id: feature/x")
assert api.model_info(REPO, revision="v1").sha == commit.oid, "a tag keeps its commit"
api.delete_tag(REPO, tag="v1")
refused(404, lambda: api.delete_tag(REPO, tag="v1"), RevisionNotFoundError, "RevisionNotFound", "Invalid rev id: v1")

api.super_squash_history(REPO)
assert len(list(api.list_repo_commits(REPO))) == 1 and api.list_repo_files(REPO) == ["n.txt"]
print("proved")
