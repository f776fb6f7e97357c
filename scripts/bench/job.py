"""Compares a whole job with the pipeline that this project replaces; see scripts/bench-train. A job leads from a model
folder and pairs to a saved and evaluated model.

Our job is `autovalidate train` on a CSV file: load, tokenize, train, evaluate, save. The old pipeline is the `fit` of
sentence-transformers before version 3 (`old_fit` today): batch size 2, each pair a second time with its sides swapped,
all shuffled, MultipleNegativesRankingLoss, five epochs, PyTorch's default AdamW at 1e-5 with 10 % warm-up, dropout as
configured in the model. It then evaluates the same queries, and saves.

Both get the same pairs, and both look up the same held-out typos in the same names. Our job holds out pairs by a
hash of their texts. Pairs are therefore drawn until training and hold-out have their number, and the job's report
must show the same split.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from train import MAKES, MINILM, slip

PAIRS, HELD_OUT, EPOCHS, RATE = 2_000, 220, 5, 1e-5
QUICK_PAIRS, QUICK_HELD_OUT = 200, 22
STEPS, QUICK_STEPS = 300, 20
SHARES = {"typo": 0.10, "correction": 0.05}


def held_out(kind: str, text: str) -> bool:
    """True when `autovalidate` holds out this text (`src/evaluate/holdout.rs`)."""
    parts = ["autovalidate hold-out v1", kind, " ".join(text.split()).lower()]
    digest = hashlib.sha256(b"".join(part.encode() + b"\0" for part in parts)).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53 < SHARES[kind]


def data(pairs: int, questions: int) -> dict:
    """Returns training pairs and held-out queries, all of known names. Each typo has one or two slips and occurs once."""
    chance = random.Random(11)
    names = [name for models in MAKES.values() for name in models.split() if not held_out("correction", name)]
    sides, seen = {False: [], True: []}, {name.lower() for name in names}
    room = {False: pairs, True: questions}
    while any(len(sides[side]) < room[side] for side in sides):
        name = chance.choice(names)
        typo = slip(name, chance)
        if len(typo) > 4 and chance.random() < 0.5:
            typo = slip(typo, chance)
        side = held_out("typo", typo)
        if typo.lower() not in seen and len(sides[side]) < room[side]:
            seen.add(typo.lower())
            sides[side].append((typo, name))
    return {"pairs": sides[False], "questions": sides[True], "names": sorted({name for side in sides.values() for _, name in side})}


def measured(command: list[str], threads: int) -> tuple[float, float]:
    """Runs a process that must succeed. Returns its seconds and its peak memory in MB."""
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "TRAIN_THREADS")}
    shares = {"HOLDOUT_TYPOS": str(SHARES["typo"]), "HOLDOUT_CORRECTIONS": str(SHARES["correction"])}
    started = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **counts, **shares}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.monotonic() - started, usage.ru_maxrss * 1024 / 1e6


def ours(given: dict, options: list[str], threads: int, scratch: Path) -> dict:
    """Runs and measures our job."""
    csv, out, report = scratch / "pairs.csv", scratch / "ours", scratch / "report.json"
    rows = [f"{typo},{name},model" for typo, name in given["pairs"] + given["questions"]]
    csv.write_text("\n".join(["typo,corrected,domain", *rows]) + "\n")
    command = [os.environ["AUTOVALIDATE"], "train", "--data", str(csv), "--base", str(MINILM), "--out", str(out), "--report", str(report)]
    seconds, peak = measured(command + options, threads)
    told = json.loads(report.read_text())
    split = (sum(told["dataset"]["training"].values()), told["dataset"]["new_typos"], told["dataset"]["unseen_corrections"])
    assert split == (len(given["pairs"]), len(given["questions"]), 0), split
    scores = told["report"]["held_out"]["all"]
    return {
        "seconds": round(seconds, 2), "peak_mb": round(peak), "steps": told["training"]["steps"],
        "before": scores["before"]["overall"]["accuracy_at_1"], "accuracy": scores["after"]["overall"]["accuracy_at_1"],
    }


def peer(given_file: str, result_file: str, out: str, threads: int, steps: int) -> None:
    """Process of the old pipeline. With `steps`, it takes only that number of steps and reports no accuracy."""
    import torch
    from sentence_transformers import InputExample, SentenceTransformer
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from torch.utils.data import DataLoader

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    given = json.loads(Path(given_file).read_text())
    started = time.monotonic()
    model = SentenceTransformer(str(MINILM), device="cpu")
    texts = [[f"car model: {text}" for text in pair] for pair in given["pairs"]]
    examples = [InputExample(texts=pair) for pair in texts + [pair[::-1] for pair in texts]]
    loader = DataLoader(examples, shuffle=True, batch_size=2)
    planned = len(loader) * EPOCHS
    loaded = time.monotonic()
    model.old_fit(
        train_objectives=[(loader, MultipleNegativesRankingLoss(model))], epochs=1 if steps else EPOCHS,
        steps_per_epoch=steps or None, warmup_steps=planned // 10, optimizer_params={"lr": RATE}, show_progress_bar=False,
    )
    trained = time.monotonic()
    model.eval()
    names = model.encode([f"car model: {name}" for name in given["names"]], convert_to_tensor=True, normalize_embeddings=True)
    asked = model.encode([f"car model: {typo}" for typo, _ in given["questions"]], convert_to_tensor=True, normalize_embeddings=True)
    best = (asked @ names.T).argmax(1).tolist()
    right = sum(given["names"][place] == name for place, (_, name) in zip(best, given["questions"]))
    model.save(out)
    taken = steps or planned
    rest = loaded - started + time.monotonic() - trained
    result = {
        "steps": planned, "step_ms": (trained - loaded) / taken * 1e3, "steps_taken": taken,
        "seconds": rest + (trained - loaded) / taken * planned,
        "accuracy": None if steps else right / len(given["questions"]),
    }
    Path(result_file).write_text(json.dumps(result))


def theirs(given: dict, threads: int, steps: int, scratch: Path) -> dict:
    given_file, result = scratch / "given.json", scratch / "result.json"
    given_file.write_text(json.dumps(given))
    command = [sys.executable, __file__, "--peer", str(given_file), str(result), str(scratch / "theirs"), str(threads), str(steps)]
    wall, peak = measured(command, threads)
    told = json.loads(result.read_text())
    # The import of PyTorch counts, like the start of our program. The time of omitted steps is added.
    left_out = told["step_ms"] / 1e3 * (told["steps"] - told["steps_taken"])
    return {**told, "seconds": round(wall + left_out, 2), "step_ms": round(told["step_ms"], 2), "peak_mb": round(peak)}


def main() -> None:
    if sys.argv[1:2] == ["--peer"]:
        given, result, out, threads, steps = sys.argv[2:]
        return peer(given, result, out, int(threads), int(steps))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS} pairs, {QUICK_STEPS} steps of the old pipeline")
    parser.add_argument("--full", action="store_true", help="take all steps of the old pipeline: reports its accuracy, without extrapolation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ours", action="append", metavar="OPTIONS", help="options of `autovalidate train`; repeat for another row")
    chosen = parser.parse_args()
    given = data(*((QUICK_PAIRS, QUICK_HELD_OUT) if chosen.quick else (PAIRS, HELD_OUT)))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        steps = 0 if chosen.full else QUICK_STEPS if chosen.quick else STEPS
        old = theirs(given, chosen.threads, steps, Path(scratch))
    print(f"{len(given['pairs'])} pairs, {len(given['questions'])} held-out typos, {len(given['names'])} names, {chosen.threads} threads")
    print(f"{'job':<44}{'steps':>7}{'seconds':>10}{'MB':>7}{'accuracy@1':>12}{'ratio':>8}")

    def show(job: str, row: dict, ratio: float | None) -> None:
        accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.3f}"
        print(f"{job:<44}{row['steps']:>7}{row['seconds']:>10.1f}{row['peak_mb']:>7}{accuracy:>12}{'' if ratio is None else f'{ratio:.1f}':>8}", flush=True)
        rows.append({"job": job, "threads": chosen.threads, "pairs": len(given["pairs"]), **row, "ratio": ratio})

    taken = old["steps_taken"]
    show("old pipeline" if chosen.full else f"old pipeline, from {taken} of its steps", old, None)
    for options in chosen.ours or ["", "--variants 0 --epochs 5"]:
        with tempfile.TemporaryDirectory() as scratch:
            row = ours(given, options.split(), chosen.threads, Path(scratch))
        show(f"ours {options}".strip(), row, round(old["seconds"] / row["seconds"], 2))
    print(f"before training: accuracy@1 {rows[-1]['before']:.3f}")
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(rows, indent=1) + "\n")


main()
