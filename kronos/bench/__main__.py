"""``python -m kronos.bench [speed | compile]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from kronos.bench import compiling, speed
from kronos.bench.setup import SIZES
from kronos.bench.table import markdown, replace_section
from kronos.kernels import KERNELS


def main() -> int:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    common.add_argument("--json", type=Path, help="write the results here")
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
    parser.add_argument("--kernel", choices=KERNELS, help="default: probed, remembered")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--markdown", type=Path, help="write or replace the table in this file")


def run_speed(args: argparse.Namespace) -> int:
    result = speed.run(args)
    section = markdown(result)
    print(section)
    if args.json:
        args.json.write_text(speed.to_json(result), encoding="utf-8")
    if args.markdown:
        text = args.markdown.read_text(encoding="utf-8") if args.markdown.is_file() else ""
        args.markdown.write_text(replace_section(text, section), encoding="utf-8")
    return 0


def run_compile(args: argparse.Namespace) -> int:
    result = compiling.run(args)
    print(compiling.report(result))
    if args.json:
        args.json.write_text(speed.to_json(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
