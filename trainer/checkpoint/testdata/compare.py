#!/usr/bin/env python3
"""Hold an Allmend checkpoint against Hugging Face transformers.

Run by hand, in a scratch virtual environment with torch, transformers and
safetensors (torch is too large for CI):

    go test ./trainer/checkpoint -run TestTransformers -export /tmp/example
    python trainer/checkpoint/testdata/compare.py /tmp/example/checkpoint trainer/checkpoint/testdata/transformers.json

It opens the folder unchanged as ApertusForCausalLM, computes logits, loss and
gradients of the example's tokens twice, once with the operands of every matrix
product rounded to bfloat16 as docs/numerics.md R1 says and once without any
rounding, and writes both with the versions used. `go test ./trainer/checkpoint`
compares ours with what it wrote.
"""
import base64
import json
import pathlib
import platform
import sys

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.bmm.default, torch.ops.aten.addmm.default}


def rounded(x):
    """Nearest-even bfloat16 in float32, magnitudes below 2^-60 flushed to +0."""
    y = x.to(torch.bfloat16).to(torch.float32)
    return torch.where(x.abs() < 2.0**-60, torch.zeros_like(y), y)


class RoundOperands(TorchDispatchMode):
    """Rounds the operands of every product, those of the backward pass too."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in PRODUCTS:
            first = len(args) - 2
            args = args[:first] + tuple(rounded(a) for a in args[first:])
        return func(*args, **(kwargs or {}))


def encode(tensor):
    return base64.b64encode(tensor.detach().to(torch.float32).contiguous().numpy().astype("<f4").tobytes()).decode()


def run(model, example):
    tokens = torch.tensor([example["input"]])
    position = torch.tensor([example["position"]])
    t = torch.arange(tokens.shape[1])
    start = t - position[0]
    seen = (t[None, :] <= t[:, None]) & (t[None, :] >= start[:, None])
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]
    model.zero_grad(set_to_none=True)
    logits = model(input_ids=tokens, position_ids=position, attention_mask=mask, use_cache=False).logits[0]
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(example["label"]), reduction="none")
    loss = (losses * torch.tensor(example["mask"], dtype=torch.float32)).sum()
    loss.backward()
    return {
        "logits": encode(logits[-1]),
        "loss": float(loss.detach()),
        "gradients": {name: encode(p.grad) for name, p in sorted(model.named_parameters())},
    }


def main(folder, out):
    folder = pathlib.Path(folder)
    example = json.loads((folder.parent / "example.json").read_text())
    model, info = transformers.ApertusForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    problems = {k: sorted(map(str, v)) for k, v in info.items() if v}
    if problems:
        sys.exit(f"the folder does not load unchanged: {problems}")
    for name, buffer in model.named_buffers():
        if name.endswith("act_fn.beta") or name.endswith("act_fn.eps"):
            if buffer.dtype != torch.float32:
                print(f"note: {name} is held as {buffer.dtype}")
    plain = run(model, example)
    with RoundOperands():
        exact = run(model, example)
    pathlib.Path(out).write_text(json.dumps({
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
        "rounded": exact, "unrounded": plain,
    }, indent=1) + "\n")
    print(f"loss {exact['loss']:.6f} rounded, {plain['loss']:.6f} unrounded; wrote {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
