"""Changes the model card of the repo with the Hub's own library, as a person might.

Arguments: the endpoint, the token, an empty folder. Prints the results' configurations as JSON.
"""

import json
import os
import sys

endpoint, token, folder = sys.argv[1:]
os.environ.update(
    HF_ENDPOINT=endpoint,
    HF_HOME=f"{folder}/update",
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
)

from huggingface_hub import EvalResult, ModelCard, hf_hub_download, metadata_update  # noqa: E402
from huggingface_hub.repocard_data import eval_results_to_model_index  # noqa: E402

REPO = "acme/cars"


def card():
    card = ModelCard.load(hf_hub_download(REPO, "README.md", token=token, force_download=True))
    card.validate()
    return card.data


def update(metadata):
    metadata_update(REPO, metadata, overwrite=True, token=token)


update({"license": "mit", "language": "de", "tags": card().tags + ["cars"]})
own = EvalResult(
    task_type="information-retrieval",
    dataset_type="private",
    dataset_name="mine",
    dataset_config="person's",
    metric_type="cosine_accuracy@1",
    metric_value=0.5,
)
update({"model-index": eval_results_to_model_index("cars", [own])})
print(json.dumps({"configs": sorted({each.dataset_config for each in card().eval_results})}))
