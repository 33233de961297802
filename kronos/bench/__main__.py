"""``python -m kronos.bench [compile | paths]``: speed without a word, or one of the others."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from kronos.bench import compiling, paths, speed
from kronos.bench.setup import SIZES
from kronos.fast.kernels import KERNELS


def main() -> int:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    common.add_argument(
        "--json",
        type=Path,
        help="write the results here; rows that it holds are not measured again",
    )
    parser = argparse.ArgumentParser(
        prog="python -m kronos.bench", description=__doc__, parents=[common]
    )
    parser.set_defaults(run=run_speed)
    add_speed(parser)
    commands = parser.add_subparsers()
    compiled = commands.add_parser(
        "compile", parents=[common], help="eager against torch.compile, and the decision"
    )
    compiled.add_argument("--size", choices=sorted(SIZES), default="mini")
    compiled.add_argument("--batch", type=int, default=16)
    compiled.add_argument("--steps", type=int, default=20)
    compiled.add_argument("--context", type=int, default=128)
    compiled.add_argument("--iterations", type=int, default=5)
    compiled.add_argument("--device", default="auto")
    compiled.set_defaults(run=run_compile)
    sampled = commands.add_parser(
        "paths", parents=[common], help="sampled paths against separate windows"
    )
    sampled.add_argument("--size", choices=sorted(SIZES), default="small")
    sampled.add_argument("--paths", type=int, default=32)
    sampled.add_argument("--windows", type=int, default=32)
    sampled.add_argument("--steps", type=int, default=90)
    sampled.add_argument("--context", type=int, default=252)
    sampled.add_argument("--repeats", type=int, default=3)
    sampled.add_argument("--kernel", choices=KERNELS, help="default: probed, remembered")
    sampled.add_argument("--markdown", type=Path, help="write or replace the table in this file")
    sampled.set_defaults(run=run_paths)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    return args.run(args)


def add_speed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sizes", nargs="+", choices=sorted(SIZES), default=["mini", "small", "base"]
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[12, 24, 98])
    parser.add_argument("--steps", nargs="+", type=int, default=[20, 60, 90])
    parser.add_argument("--context", type=int, default=252)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--row-seconds",
        type=float,
        default=60.0,
        help="a row whose first run takes longer is not repeated (default: 60)",
    )
    parser.add_argument("--kernel", choices=KERNELS, help="default: probed, remembered")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--markdown", type=Path, help="write or replace the table in this file")


def run_speed(args: argparse.Namespace) -> int:
    result = speed.run(args)
    return report(result, speed.markdown(result), args.json, args.markdown)


def run_compile(args: argparse.Namespace) -> int:
    result = compiling.run(args)
    return report(result, compiling.report(result), args.json)


def run_paths(args: argparse.Namespace) -> int:
    result = paths.run(args)
    return report(result, paths.markdown(result), args.json, args.markdown)


def report(result: dict[str, Any], text: str, path: Path | None, into: Path | None = None) -> int:
    """Print, and write what was asked for."""
    print(text)
    if path:
        path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if into:
        whole = into.read_text(encoding="utf-8") if into.is_file() else ""
        into.write_text(replace_section(whole, text), encoding="utf-8")
    return 0


def replace_section(text: str, section: str) -> str:
    """``text`` with the part under the section's own heading replaced, or the section added."""
    heading = section.split("\n", 1)[0]
    before, found, after = text.partition(heading + "\n")
    if not found:
        return (text.rstrip() + "\n\n" if text.strip() else "# Benchmarks\n\n") + section
    following = after.find("\n## ")
    return before + section + ("" if following < 0 else after[following:])


if __name__ == "__main__":
    sys.exit(main())
