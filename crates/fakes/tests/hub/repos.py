"""Repos: create, find, hide, move, delete."""

from common import api, endpoint, refused, version
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

anonymous = HfApi(token=False)

url = api.create_repo("acme/cars", private=True)
assert (url, url.repo_id) == (f"{endpoint}/acme/cars", "acme/cars")
assert api.create_repo("acme/cars", exist_ok=True).repo_id == "acme/cars"
refused(409, lambda: api.create_repo("acme/cars"))
assert api.create_repo("bare").repo_id == "acme/bare", "the token's owner is the default"
assert api.whoami()["name"] == "acme"

assert api.repo_exists("acme/cars") and not api.repo_exists("acme/absent")
assert not anonymous.repo_exists("acme/cars"), "a private repo looks absent to strangers"
assert anonymous.repo_exists("acme/bare")
api.auth_check("acme/cars")
unseen = {"kind": RepositoryNotFoundError, "code": "RepoNotFound", "sentence": "Invalid username or password."}
refused(401, lambda: anonymous.auth_check("acme/cars"), **unseen)

info = api.model_info("acme/cars")
assert (info.private, info.gated, info.author, info.siblings) == (True, False, "acme", [])
api.update_repo_settings("acme/cars", private=False)
assert anonymous.model_info("acme/cars").private is False
if version >= (2, 0):
    api.update_repo_settings("acme/cars", visibility="private")
    assert not anonymous.repo_exists("acme/cars")

api.update_repo_settings("acme/bare", gated="manual")
assert anonymous.model_info("acme/bare").gated == "manual", "what is gated are the files"
refused(401, lambda: list(anonymous.list_repo_commits("acme/bare")), GatedRepoError, code="GatedRepo")
api.update_repo_settings("acme/bare", gated=False)

api.update_repo_settings("acme/cars", private=False)
api.move_repo("acme/cars", "acme/autos")
assert api.model_info("acme/autos").id == "acme/autos"
assert api.model_info("acme/cars").id == "acme/autos", "the old name redirects"
api.create_repo("acme/third")
refused(409, lambda: api.move_repo("acme/third", "acme/autos"))

api.delete_repo("acme/autos")
assert not api.repo_exists("acme/autos") and not api.repo_exists("acme/cars")
api.delete_repo("acme/autos", missing_ok=True)
refused(404, lambda: api.delete_repo("acme/autos"), RepositoryNotFoundError, "RepoNotFound", "Repository not found")
print("proved")
