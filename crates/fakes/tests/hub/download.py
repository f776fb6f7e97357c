"""Downloads what `upload.py` uploaded. `EXPECT=xet`: every file has a Xet hash."""

import json
import os
import shutil

from common import folder
from huggingface_hub import HfFileSystem, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download

REPO = "acme/large"
contents = {name: bytes.fromhex(text) for name, text in json.load(open(folder.parent / "contents.json")).items()}
shutil.rmtree(folder / ".cache", ignore_errors=True)
expected = os.environ.get("EXPECT") == "xet"
if expected:
    # Clients upload a stream without Xet.
    del contents["stream.onnx"]
for name, content in contents.items():
    xet = get_hf_file_metadata(hf_hub_url(REPO, name)).xet_file_data
    assert not expected or xet is not None, name
    assert open(hf_hub_download(REPO, name), "rb").read() == content, name
if not expected:
    snapshot = snapshot_download(REPO, local_dir=folder / "all")
    for name, content in contents.items():
        assert open(f"{snapshot}/{name}", "rb").read() == content, name
    with HfFileSystem().open(f"{REPO}/m.zip", "rb") as opened:
        opened.seek(2_000_000)
        assert opened.read(1_000) == contents["m.zip"][2_000_000:2_001_000]
print("proved")
