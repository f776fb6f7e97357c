"""The model card: what the Hub refuses in it, what it shows of it, and updates of its fields."""

import warnings

from common import api, refused, version
from huggingface_hub import CommitOperationAdd, EvalResult, ModelCard, ModelCardData, metadata_update
from huggingface_hub.errors import BadRequestError

REPO = "acme/cars"
api.create_repo(REPO)


def invalid(card, sentence):
    try:
        api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=REPO)
    except ValueError as error:
        assert "Invalid metadata in README.md" in str(error) and sentence in str(error), str(error)
        return
    raise AssertionError(f"accepted: {card}")


invalid("---\nlicense: [\n---\n", "Invalid YAML in README.md: ")
invalid("---\n- a\n---\n", '"value" must be of type object')
invalid("---\nlicense: asdf\n---\n", '"license" must be one of [apache-2.0, mit, ')
invalid("---\nbase_model: /workspace/m\n---\n", '"base_model" with value "/workspace/m" is not valid.')
invalid("---\nmodel-index:\n- name: x\n---\n", '"model-index[0].results" is required')
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    api.upload_file(path_or_fileobj=b"# Cars\n", path_in_repo="README.md", repo_id=REPO)
assert any("empty or missing yaml metadata in repo card" in str(warning.message) for warning in caught)

# The commit itself is checked as well, for clients that don't ask before.
api._validate_yaml = lambda *_, **__: None
bad = {"path_or_fileobj": b"---\nlicense: asdf\n---\n", "path_in_repo": "README.md", "repo_id": REPO}
refused(400, lambda: api.upload_file(**bad), BadRequestError)
del api._validate_yaml

result = EvalResult(
    task_type="information-retrieval",
    dataset_type="private",
    dataset_name="mine",
    metric_type="accuracy",
    metric_value=0.5,
)
data = ModelCardData(
    license="mit",
    language="de",
    library_name="sentence-transformers",
    tags=["onnx"],
    model_name="cars",
    eval_results=[result],
)
card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n# Cars\n")
if version >= (2, 0):
    # Versions before 2 ask https://huggingface.co here, whatever the endpoint is.
    card.validate()
    card.push_to_hub(REPO)
    metadata_update(REPO, {"tags": ["onnx", "cars"]}, overwrite=True)
    card.data.license = "asdf"
    try:
        card.push_to_hub(REPO)
        raise AssertionError("accepted")
    except ValueError as error:
        assert str(error).startswith('- Error: "license" must be one of [apache-2.0, '), str(error)
else:
    api.create_commit(REPO, [CommitOperationAdd("README.md", str(card).encode())], commit_message="card")

info = api.model_info(REPO)
assert (info.library_name, info.card_data.license) == ("sentence-transformers", "mit")
assert {"onnx", "de", "license:mit", "region:us"} <= set(info.tags), info.tags
assert ModelCard.load(REPO).data.eval_results == [result]
if version >= (2, 0):
    assert "cars" in info.tags
print("proved")
