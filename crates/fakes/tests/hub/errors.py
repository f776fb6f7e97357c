"""Refusals: each with the class, the status, the code and the sentence of the real Hub."""

import inspect

from common import api, refused
from huggingface_hub import CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

REPO = "acme/cars"
api.create_repo(REPO, private=True)
first = api.model_info(REPO).sha
file = {"path_or_fileobj": b"x", "path_in_repo": "x.txt", "repo_id": REPO}
api.upload_file(**file)

NOT_SIGNED_IN = "Invalid username or password."
anonymous, wrong, reader = HfApi(token=False), HfApi(token="hf_wrong"), HfApi(token="hf_reader")
for call in [lambda: anonymous.model_info(REPO), lambda: anonymous.model_info("acme/absent")]:
    refused(401, call, RepositoryNotFoundError, "RepoNotFound", NOT_SIGNED_IN)
refused(401, lambda: anonymous.create_repo("acme/new"), sentence=NOT_SIGNED_IN)
for call in [lambda: wrong.model_info(REPO), lambda: wrong.upload_file(**file)]:
    error = refused(401, call)
    assert not isinstance(error, RepositoryNotFoundError)
    assert error.response.headers["x-error-message"] == "Invalid credentials in Authorization header"

assert reader.model_info(REPO).sha == api.model_info(REPO).sha
assert reader.whoami()["auth"]["accessToken"]["role"] == "read"
changed = {**file, "path_or_fileobj": b"y"}
refused(403, lambda: reader.upload_file(**changed), sentence="you must use a write token to upload to a repository")
rights = 'You don\'t have the rights to create a model under the namespace "acme"'
refused(403, lambda: reader.create_repo("acme/new"), sentence=rights)
if "write" in inspect.signature(HfApi.auth_check).parameters:
    refused(403, lambda: reader.auth_check(REPO, write=True))

refused(404, lambda: api.model_info("acme/absent"), RepositoryNotFoundError, "RepoNotFound", "Repository not found")
refused(
    404, lambda: api.upload_file(**{**file, "repo_id": "acme/absent"}), RepositoryNotFoundError, "RepoNotFound"
)
missing = "Invalid rev id: absent"
for call in [
    lambda: api.model_info(REPO, revision="absent"),
    lambda: list(api.list_repo_tree(REPO, revision="absent")),
    lambda: list(api.list_repo_commits(REPO, revision="absent")),
    lambda: api.get_paths_info(REPO, "x.txt", revision="absent"),
    lambda: api.upload_file(**changed, revision="absent"),
]:
    refused(404, call, RevisionNotFoundError, "RevisionNotFound", missing)
refused(404, lambda: hf_hub_download(REPO, "x.txt", revision="absent"), RevisionNotFoundError, "RevisionNotFound")
refused(404, lambda: hf_hub_download(REPO, "absent.txt"), EntryNotFoundError, "EntryNotFound")
tree = lambda: list(api.list_repo_tree(REPO, "absent"))  # noqa: E731
refused(404, tree, EntryNotFoundError, "EntryNotFound", 'absent does not exist on "main"')
delete = lambda: api.create_commit(REPO, [CommitOperationDelete("absent")], commit_message="x")  # noqa: E731
refused(404, delete, EntryNotFoundError, "EntryNotFound")

late = "A commit has happened since. Please refresh and try again."
refused(412, lambda: api.upload_file(**changed, parent_commit=first), sentence=late)
refused(400, lambda: api.model_info(REPO, expand=["bogus"]), BadRequestError)

api.update_repo_settings(REPO, private=False, gated="auto")
gated = lambda: hf_hub_download(REPO, "x.txt", token=False)  # noqa: E731
refused(401, gated, GatedRepoError, "GatedRepo")
assert issubclass(GatedRepoError, HfHubHTTPError)
print("proved")
