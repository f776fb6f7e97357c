"""The backend's way to its model, with the libraries that it pins: it lists the releases, takes the name that sorts
last, caches by the version in the name, downloads, unpacks and loads.

Arguments: the endpoint, the token, the repo, a folder that outlives the process. For each line of standard input, a
JSON list of texts, it looks for the newest release and prints a line: version, whether it was downloaded, embeddings.
For a JSON object with the rows of the catalog and what was typed, it prints the names that it answers with.
"""

import fnmatch
import json
import os
import pathlib
import shutil
import sys
import zipfile

endpoint, token, repo, folder = sys.argv[1:]
os.environ.update(HF_ENDPOINT=endpoint, HF_HOME=f"{folder}/home", HF_HUB_DISABLE_TELEMETRY="1")

import huggingface_hub  # noqa: E402
import sentence_transformers  # noqa: E402
import transformers  # noqa: E402


def newest() -> str:
    """Returns the path of the release whose name sorts last."""
    files = huggingface_hub.HfApi(token=token).list_repo_files(repo)
    return sorted(fnmatch.filter(files, "models/finetuned-embedding-model-*.zip"), reverse=True)[0]


def fetch(path: str, into: pathlib.Path) -> None:
    """Downloads a release and unpacks it, whole or not at all."""
    archive = huggingface_hub.hf_hub_download(repo, path, token=token)
    partial = into.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(partial)
    partial.rename(into)


def model_folder(unpacked: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the model: the root of the archive, or one below it."""
    found = [path.parent for path in unpacked.rglob("modules.json") if "__MACOSX" not in path.parts]
    return min(found, key=lambda path: len(path.parts))


def look(texts: list[str]) -> dict:
    path = newest()
    version = path.split("-")[-1].split(".")[0]
    unpacked = pathlib.Path(folder, "models", version)
    absent = not unpacked.exists()
    if absent:
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        fetch(path, unpacked)
    model = sentence_transformers.SentenceTransformer(str(model_folder(unpacked)), device="cpu")
    return {"version": version, "downloaded": absent, "embeddings": model.encode(texts).tolist()}


def search(rows: list[list[str]], typed: list[list[str]]) -> list[list[str]]:
    """Indexes each row of the catalog twice, as brand and as model, and returns the best three names for each text,
    out of the nine nearest vectors of its kind."""
    unpacked = max(pathlib.Path(folder, "models").iterdir())
    model = sentence_transformers.SentenceTransformer(str(model_folder(unpacked)), device="cpu")
    index = {
        "brand": [(brand, f"car brand: {brand} models: {name}") for brand, name in rows],
        "model": [(name, f"car model: {name} by {brand}") for brand, name in rows],
    }
    vectors = {kind: model.encode([text for _, text in texts]) for kind, texts in index.items()}
    answers = []
    for kind, text in typed:
        scores = sentence_transformers.util.cos_sim(model.encode(f"car {kind}: {text}"), vectors[kind])[0]
        nearest = scores.argsort(descending=True, stable=True)[:9].tolist()
        answers.append(list(dict.fromkeys(index[kind][place][0] for place in nearest))[:3])
    return answers


libraries = (transformers, huggingface_hub, sentence_transformers)
print(json.dumps([library.__version__.rpartition(".")[0] for library in libraries]), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    answer = search(**asked) if isinstance(asked, dict) else look(asked)
    print(json.dumps(answer), flush=True)
