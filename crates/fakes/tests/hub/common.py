"""What the scripts share: the empty folder of their first argument, the API, and the check of a refusal.

The endpoint and the token come from the environment, as a user sets them.
"""

import os
import pathlib
import sys

import huggingface_hub
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

folder = pathlib.Path(sys.argv[1])
endpoint = os.environ["HF_ENDPOINT"]
version = tuple(int(part) for part in huggingface_hub.__version__.split(".")[:2])
api = HfApi()


def refused(status, call, kind=HfHubHTTPError, code=None, sentence=None):
    """Calls, and checks the refusal's class, its status and the headers by which clients tell cases apart."""
    try:
        call()
    except kind as error:
        response = error.response
        assert response.status_code == status, (response.status_code, str(error))
        assert response.headers.get("x-error-code") == code, response.headers
        if sentence is not None:
            assert response.headers["x-error-message"] == sentence, response.headers["x-error-message"]
        return error
    raise AssertionError(f"no {kind.__name__}")
