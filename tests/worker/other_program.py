"""Makes a release of another model as another program might: files at the root of the zip, a Mac's files beside them,
weights as a pickle.

Arguments: a zip with a model in one folder, the zip to write.
"""

import pathlib
import sys
import tempfile
import zipfile

import torch
from sentence_transformers import SentenceTransformer

source, target = sys.argv[1:]
with tempfile.TemporaryDirectory() as work:
    zipfile.ZipFile(source).extractall(work)
    model = SentenceTransformer(str(next(pathlib.Path(work).iterdir())), device="cpu")
    torch.manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    saved = pathlib.Path(work, "saved")
    model.save(str(saved), safe_serialization=False)
    assert not list(saved.rglob("*.safetensors"))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(saved.rglob("*")):
            packed.write(path, path.relative_to(saved))
            packed.writestr(f"__MACOSX/{path.parent.relative_to(saved)}/._{path.name}", b"\0\5\26\7")
