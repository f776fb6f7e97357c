"""Compares optimizer steps of this program with sentence-transformers on PyTorch; see scripts/bench-train.

Each side is a separate process that takes steps on request. The sides alternate every few steps, so that a busy
machine affects both equally. Both get the same texts in the same batches, tokenized beforehand. A step leads from a
batch to updated weights. The peer runs in its fastest form: its own MultipleNegativesRankingLoss and fused AdamW.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MINILM = ROOT / ".local" / "models" / "all-MiniLM-L6-v2"
CASES = [  # name, threads, batch, dropout on both sides, steps of the full run
    ("minilm", 2, 2, False, 40),
    ("minilm", 2, 16, False, 24),
    ("minilm", 2, 64, False, 16),
    ("minilm", 1, 64, False, 12),
    ("e5-small-shape", 2, 16, False, 16),
    ("minilm-dropout", 2, 2, True, 40),
    ("minilm-dropout", 2, 16, True, 24),
    ("minilm-dropout", 2, 64, True, 16),
]
QUICK_STEPS = 10
MAKES = {
    "Toyota": "Corolla Camry Yaris Avensis Prius RAV4 Hilux Auris Verso Supra",
    "Volkswagen": "Golf Passat Tiguan Touran Polo Arteon Touareg Sharan Jetta Scirocco",
    "Ford": "Fiesta Focus Mondeo Kuga Mustang Galaxy Puma Ranger Transit Explorer",
    "Hyundai": "Tucson Elantra Kona Ioniq Sonata Veloster Palisade Creta Getz Accent",
    "Renault": "Clio Megane Captur Kadjar Scenic Twingo Laguna Espace Koleos Zoe",
    "Nissan": "Qashqai Juke Micra Navara Pathfinder Almera Leaf Murano Primera Patrol",
    "Skoda": "Octavia Fabia Superb Kodiaq Karoq Yeti Rapid Roomster Scala Kamiq",
    "Opel": "Astra Corsa Insignia Zafira Mokka Meriva Vectra Antara Crossland Vivaro",
    "Mitsubishi": "Outlander Lancer Pajero Colt Galant Eclipse Carisma Triton Shogun Grandis",
    "Peugeot": "Partner Traveller Rifter Expert Boxer Bipper Landtrek Pars Oxia Quasar",
}


def slip(name: str, chance: random.Random) -> str:
    """Returns the name with one letter dropped, doubled, swapped or replaced."""
    at = chance.randrange(1, len(name) - 1)
    kind = chance.randrange(4)
    if kind == 0:
        return name[:at] + name[at + 1 :]
    if kind == 1:
        return name[:at] + name[at] + name[at:]
    if kind == 2:
        return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    return name[:at] + chance.choice("aeioustrn") + name[at + 1 :]


def work(batch: int) -> dict:
    """Returns pairs of a mistyped and a correct car name, and batches whose names all differ."""
    chance = random.Random(7)
    pairs = [
        (f"car model: {slip(model, chance)}", f"car model: {model}")
        for models in MAKES.values() for model in models.split()
    ]
    return {"pairs": pairs, "batches": [chance.sample(range(len(pairs)), batch) for _ in range(16)]}


def e5_folder(folder: Path) -> Path:
    """Creates a model with the shape of multilingual-e5-small and random weights.

    It uses MiniLM's token ids, which does not change the cost.
    """
    if (folder / "modules.json").exists():
        return folder
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=250_037, hidden_size=384, num_hidden_layers=12, num_attention_heads=12,
        intermediate_size=1536, max_position_embeddings=512, type_vocab_size=2,
    )
    with tempfile.TemporaryDirectory() as plain:
        BertModel(config).save_pretrained(plain)
        AutoTokenizer.from_pretrained(MINILM).save_pretrained(plain)
        model = SentenceTransformer(modules=[Transformer(plain, max_seq_length=128), Pooling(384, "mean"), Normalize()], device="cpu")
        model.save(str(folder), create_model_card=False)
    return folder


def peer(folder: str, work_file: str, threads: int, dropout: bool) -> None:
    """Process of the peer."""
    import resource
    import time

    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    torch.set_num_threads(threads)
    model = SentenceTransformer(folder, device="cpu").train()
    if not dropout:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    loss_function = MultipleNegativesRankingLoss(model, scale=20.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01, fused=True)
    given = json.loads(Path(work_file).read_text())
    prepare = getattr(model, "preprocess", None) or model.tokenize
    batches = [
        [prepare([given["pairs"][pair][side] for pair in batch]) for side in (0, 1)] for batch in given["batches"]
    ]
    step = 0
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            started = time.perf_counter()
            features = [dict(side) for side in batches[step % len(batches)]]
            optimizer.zero_grad()
            loss = loss_function(features, None)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            loss.item()
            times.append((time.perf_counter() - started) * 1e3)
            step += 1
        print(json.dumps(times), flush=True)
    print(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}), flush=True)


class Side:
    """Process that takes steps on request."""

    def __init__(self, command: list[str], threads: int):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def steps(self, count: int) -> list[float]:
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> dict:
        self.process.stdin.close()
        last = json.loads(self.process.stdout.readline())
        if self.process.wait() != 0:
            raise SystemExit("a side failed")
        return last


def case(name: str, threads: int, batch: int, dropout: bool, steps: int, folder: Path, library: str) -> dict:
    program = os.environ["BENCH_TRAIN"]
    peak = max(float(subprocess.check_output([program, "gemm", library, str(threads)])) for _ in range(2))
    with tempfile.TemporaryDirectory() as scratch:
        given = Path(scratch) / "work.json"
        given.write_text(json.dumps(work(batch)))
        options = json.dumps({"dropout": dropout, "batch_size": batch})
        ours = Side([program, "steps", library, str(folder), str(given), str(threads), options], threads)
        theirs = Side([sys.executable, __file__, "--peer", str(folder), str(given), str(threads), str(int(dropout))], threads)
        # Each turn has several steps, because the other side evicts the caches before the first one.
        block = 5
        for side in (ours, theirs):
            side.steps(3)  # Not counted: memory grows and caches fill.
        ours_ms, peer_ms = [], []
        while len(ours_ms) < steps:
            ours_ms += ours.steps(block)
            peer_ms += theirs.steps(block)
        ours_end, peer_end = ours.end(), theirs.end()
    ours_median, peer_median = statistics.median(ours_ms), statistics.median(peer_ms)
    return {
        "case": name, "threads": threads, "batch": batch,
        "ours_ms": round(ours_median, 2), "peer_ms": round(peer_median, 2), "ratio": round(peer_median / ours_median, 2),
        "ours_peak_mb": round(ours_end["peak_mb"]), "peer_peak_mb": round(peer_end["peak_mb"]),
        "gemm_share": round(ours_end["operations"] / peak / (ours_median / 1e3), 3),
    }


def main() -> None:
    if sys.argv[1:2] == ["--peer"]:
        folder, given, threads, dropout = sys.argv[2:]
        return peer(folder, given, int(threads), bool(int(dropout)))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help=f"take {QUICK_STEPS} steps of each side per case")
    parser.add_argument("--case", default="", help="only cases whose name starts with this text")
    parser.add_argument("--batch", type=int, help="only cases with this batch size")
    chosen = parser.parse_args()
    library = os.environ["ORT_DYLIB_PATH"]
    rows = []
    print(f"{'case':<20}{'threads':>8}{'batch':>6}{'ours ms':>10}{'peer ms':>10}{'ratio':>7}{'ours MB':>9}{'peer MB':>9}{'gemm':>7}")
    for name, threads, batch, dropout, steps in CASES:
        if not name.startswith(chosen.case) or chosen.batch not in (None, batch):
            continue
        folder = e5_folder(ROOT / ".local" / "bench-models" / "e5-small-shape") if name.startswith("e5") else MINILM
        row = case(name, threads, batch, dropout, QUICK_STEPS if chosen.quick else steps, folder, library)
        rows.append(row)
        print(
            f"{row['case']:<20}{threads:>8}{batch:>6}{row['ours_ms']:>10.1f}{row['peer_ms']:>10.1f}{row['ratio']:>7.2f}"
            f"{row['ours_peak_mb']:>9}{row['peer_peak_mb']:>9}{row['gemm_share']:>7.2f}", flush=True,
        )
        if chosen.json:
            Path(chosen.json).write_text(json.dumps(rows, indent=1) + "\n")
    if os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1):
        print("the machine was busy: the ratios are still valid, but absolute times and gemm shares are not", file=sys.stderr)


if __name__ == "__main__":
    main()
