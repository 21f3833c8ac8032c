"""The training loop: one GPU, or a few single-threaded CPU processes that share their gradients."""

import csv
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from . import checkpoint, norm
from .batches import Batches
from .canvas import Composer
from .composite import make_bank
from .distil import lesson, told
from .loss import Batch, loss_of
from .mine import hardness
from .network import SHAPES, Detector, mixed_precision
from .pack import Store
from .plan import Plan
from .weights import from_any, shape_of

LOG_EVERY, SAVE_EVERY = 50, 250
MEASURED_BATCHES = 8  # of the pictures over which norms are measured at the start
COLUMNS = ("step", "samples", "minutes", "rate", "loss", "box", "objectness", "class", "positives_per_picture", "gradient", "pictures_per_s", "waiting_share")


@dataclass
class Run:
    """Where a run reads and writes, and how its processes meet."""

    pack: Path
    out: Path
    weights: Path
    device: str
    port: int = 29531
    keep_every: int = 0
    workers: int = 0
    until: int = 0
    teachers: tuple[Path, ...] = ()
    mine_by: Path | None = None


def train(run: Run, plan: Plan) -> None:
    """Trains or resumes. Returns when the plan's steps are done and `final.pt` is written."""
    store = Store(run.pack)
    Composer(store, None).check(plan.mix)
    run.out.mkdir(parents=True, exist_ok=True)
    checkpoint.settle_plan(run.out, plan, (run.out / "last.pt").exists())
    if plan.bank:
        make_bank(store, plan.bank)
    if run.device != "cpu":
        _process(0, run, plan, 1)
    elif plan.processes == 1:
        _process(0, run, plan, 1)
    else:
        torch.multiprocessing.spawn(_process, (run, plan, plan.processes), plan.processes)


def _process(rank: int, run: Run, plan: Plan, world: int) -> None:
    torch.manual_seed(plan.seed)
    cv2.setNumThreads(1)
    device = torch.device(run.device)
    if run.device == "cpu":
        torch.set_num_threads(plan.threads)
    else:
        torch.backends.cudnn.benchmark = True
    if world > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{run.port}", rank=rank, world_size=world)
    try:
        _Loop(rank, run, plan, world, device).go()
    finally:
        if world > 1:
            dist.destroy_process_group()


class _Loop:
    def __init__(self, rank: int, run: Run, plan: Plan, world: int, device: torch.device):
        self.rank, self.run, self.plan, self.world, self.device = rank, run, plan, world, device
        saved = checkpoint.load(run.out)
        from_file = run.weights and not saved
        detector = from_any(run.weights, SHAPES[plan.shape]) if from_file else Detector(SHAPES[plan.shape])
        detector.freeze(plan.freeze)
        if saved:
            if plan.norm:
                norm.put_in(detector)
            detector.load_state_dict(saved["model"])
        self.detector = detector.to(device, memory_format=torch.channels_last).train()
        self.teachers = self._teachers()
        self.store = Store(run.pack)
        self.composer = Composer(self.store, make_bank(self.store, plan.bank) if plan.bank else None, self._hardness())
        if plan.norm and not saved:
            self._start_norms()
        self.parameters = [p for p in detector.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            [dict(params=[p for p in self.parameters if p.ndim > 1], weight_decay=plan.weight_decay),
             dict(params=[p for p in self.parameters if p.ndim <= 1], weight_decay=0.0)], lr=plan.rate, betas=(0.9, 0.99))
        self.ema = {k: v.detach().clone().float() for k, v in detector.state_dict().items()}
        self.step = 0
        if saved:
            self.step = saved["step"]
            self.optimiser.load_state_dict(saved["optimiser"])
            self.ema = {k: v.to(device) for k, v in saved["ema"].items()}

    def go(self) -> None:
        plan, run = self.plan, self.run
        last = min(plan.steps, run.until) if run.until else plan.steps
        batches = Batches(self.composer, plan.sample_at, plan.batch, self.rank, plan.seed, self.step, last, bool(self.teachers))
        loader = torch.utils.data.DataLoader(batches, batch_size=None, shuffle=False, num_workers=run.workers,
                                             pin_memory=self.device.type == "cuda", worker_init_fn=_quiet_worker,
                                             prefetch_factor=4 if run.workers else None)
        log = _Log(run.out / "log.csv", self.step) if self.rank == 0 else None
        asked = time.monotonic()
        for batch in loader:
            waited = time.monotonic() - asked
            parts, gradient = self._learn(batch.to(self.device))
            self.step += 1
            if log:
                log.add(self.step, plan, self.world, parts, gradient, waited)
                if self.step % SAVE_EVERY == 0 or self.step == last:
                    checkpoint.save(run.out, self.step, self.detector, self.ema, self.optimiser, plan)
                if run.keep_every and self.step % run.keep_every == 0:
                    checkpoint.keep_weights(run.out, f"step-{self.step:06}", self.ema)
            asked = time.monotonic()
        if log and self.step >= plan.steps:
            checkpoint.keep_weights(run.out, "final", self.ema)

    def _start_norms(self) -> None:
        norm.put_in(self.detector)
        if not self.run.weights:
            return
        # The same pictures in every process, so that all start alike.
        pictures = Batches(self.composer, self.plan.sample_at, self.plan.batch, 0, self.plan.seed, 0, MEASURED_BATCHES)
        norm.measure(self.detector, (self._floats(batch.to(self.device).pixels) for batch in map(pictures.__getitem__, range(len(pictures)))))

    def _teachers(self) -> list[Detector]:
        shapes = self.plan.teacher.split("+") if self.plan.teacher else []
        return [from_any(path, SHAPES[shape]).to(self.device, memory_format=torch.channels_last).eval()
                for path, shape in zip(self.run.teachers, shapes, strict=True)]

    @staticmethod
    def _floats(pixels: Tensor) -> Tensor:
        return pixels.float().contiguous(memory_format=torch.channels_last)

    def _hardness(self) -> dict[int, float]:
        """Scores of the negatives under the weights that mine, kept beside the run for resuming."""
        path, by = self.run.out / "hardness.json", self.run.mine_by or self.run.weights
        # Those of COCO know no fire.
        if not self.plan.mine or not by or by.suffix == ".onnx":
            return {}
        if not path.exists():
            miner = from_any(by, SHAPES[shape_of(by)]).to(self.device, memory_format=torch.channels_last)
            own = hardness(miner, self.store, self.device, share=(self.rank, self.world))
            everyones = [None] * self.world
            if self.world > 1:
                dist.all_gather_object(everyones, own)
            else:
                everyones = [own]
            if self.rank == 0:
                path.write_text(json.dumps({k: round(v, 4) for one in everyones for k, v in one.items()}))
            if self.world > 1:
                dist.barrier()
        return {int(k): v for k, v in json.loads(path.read_text()).items()}

    def _learn(self, batch: Batch) -> tuple:
        pixels = self._floats(batch.pixels)
        with mixed_precision(self.device):
            logits = self.detector(pixels)
        parts = loss_of(logits.float(), batch)
        if self.teachers:
            taught = lesson(logits.float(), told(self.teachers, self._floats(batch.clear), batch), *pixels.shape[2:])
            parts.total = (1 - self.plan.taught) * parts.total + self.plan.taught * taught
        parts.total.backward()
        gradient = self._share_and_clip()
        rate = self.plan.rate_at(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.rank == 0:
            self._average()
        return parts, gradient

    def _share_and_clip(self) -> Tensor:
        flat = torch.cat([p.grad.reshape(-1) if p.grad is not None else torch.zeros_like(p).reshape(-1) for p in self.parameters])
        if self.world > 1:
            dist.all_reduce(flat)
            flat /= self.world
        length = flat.norm()
        flat *= (self.plan.clip / (length + 1e-6)).clamp(max=1.0)
        # A batch that overflowed teaches nothing; the next one will.
        flat = torch.where(length.isfinite(), flat, 0)
        at = 0
        for p in self.parameters:
            p.grad = flat[at:at + p.numel()].view_as(p)
            at += p.numel()
        return length

    @torch.no_grad()
    def _average(self) -> None:
        # Young averages follow fast, so that the first weights are soon forgotten.
        keep = min(self.plan.averaging, (1 + self.step) / (20 + self.step))
        own = [v for v in self.detector.state_dict().values()]
        torch._foreach_lerp_(list(self.ema.values()), [v.float() for v in own], 1 - keep)


class _Log:
    """Appends a row of means to log.csv every `LOG_EVERY` steps, and says it aloud."""

    def __init__(self, path: Path, step: int):
        self.path, self.rows, self.started, self.samples = path, [], time.monotonic(), 0
        self.before = 0.0
        if path.exists() and step:
            with path.open() as file:
                kept = [r for r in csv.DictReader(file) if int(r["step"]) <= step]
            self.before = float(kept[-1]["minutes"]) if kept else 0.0
            self._write("w", [COLUMNS] + [tuple(r.values()) for r in kept])
        else:
            self._write("w", [COLUMNS])
        self.last = self.started

    def _write(self, mode: str, rows) -> None:
        with self.path.open(mode, newline="") as file:
            csv.writer(file).writerows(rows)

    def add(self, step: int, plan: Plan, world: int, parts, gradient: Tensor, waited: float) -> None:
        # Kept on the device until a row is due, so that no step waits for it.
        self.rows.append((torch.stack((parts.total.detach(), parts.box, parts.objectness, parts.classes, parts.positives / plan.batch, gradient)), waited))
        if step % LOG_EVERY and step != plan.steps:
            return
        mean = torch.stack([row for row, _ in self.rows]).mean(0).tolist()
        now = time.monotonic()
        spent, count, waiting = now - self.last, len(self.rows), sum(waited for _, waited in self.rows)
        self.rows, self.last = [], now
        row = (step, step * plan.batch * world, round(self.before + (now - self.started) / 60, 2), f"{plan.rate_at(step):.2e}",
               *(round(m, 4) for m in mean), round(count * plan.batch * world / spent, 1), round(waiting / spent, 3))
        self._write("a", [row])
        print(*(f"{c} {v}" for c, v in zip(COLUMNS, row)), sep="  ", flush=True)


def _quiet_worker(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
