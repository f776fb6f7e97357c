"""Reads the model card of the repo with the Hub's own library.

Arguments: the endpoint, the token, an empty folder. Prints the front matter as JSON.
"""

import json
import os
import sys

endpoint, token, folder = sys.argv[1:]
os.environ.update(HF_ENDPOINT=endpoint, HF_HOME=f"{folder}/home", HF_HUB_DISABLE_TELEMETRY="1")

from huggingface_hub import ModelCard, hf_hub_download  # noqa: E402

card = ModelCard.load(hf_hub_download("acme/cars", "README.md", token=token))
card.validate()
data = card.data
print(
    json.dumps(
        {
            "library_name": data.library_name,
            "pipeline_tag": data.pipeline_tag,
            "base_model": data.base_model,
            "tags": data.tags,
            "license": data.license,
            "language": data.language,
            "results": [
                [each.dataset_name, each.task_type, each.metric_type, each.metric_value, each.dataset_config]
                for each in data.eval_results or []
            ],
        }
    )
)
