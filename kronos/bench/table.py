"""The results as a section of Markdown."""

from __future__ import annotations

from typing import Any

__all__ = ["markdown", "replace_section"]


def markdown(result: dict[str, Any]) -> str:
    """The table of :func:`kronos.bench.speed.run`, with the hardware and how to read it."""
    machine, rates = result["hardware"], result["rates"]
    lines = [
        "## Kronos inference",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} thread(s), torch "
        f"{machine['torch']}, kernel `{result['kernel']}`. Context {result['context']}, "
        f"random weights, top-p 0.9, one path a window, median of so many alternated runs as the "
        "last column but one says; the last is the machine's load when the row was done.",
        "",
        f"Measured ceilings: linear {rates['linear_flops'] / 1e9:.0f} GFLOP/s (stock "
        f"{rates['stock_flops'] / 1e9:.0f}), reading memory {rates['read_bytes'] / 1e9:.0f} GB/s.",
        "",
        "| size | windows × steps | plain s (estimated) | exact s | fast s | exact × | fast × "
        "| exact × CPU | fast × CPU | tokens/s | of linear | of memory | peak MB exact, fast "
        "| runs | load |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        wall, ratio, peak = row["wall_s"], row["ratio"], row["peak_bytes"]
        lines.append(
            f"| {row['size']} | {row['batch']} × {row['steps']} | {wall['plain']:.0f} "
            f"| {wall['exact']:.2f} | {wall['fast']:.2f} | {ratio['exact_wall']:.1f} "
            f"| {ratio['fast_wall']:.1f} | {ratio['exact_cpu']:.1f} | {ratio['fast_cpu']:.1f} "
            f"| {row['tokens_per_s']:.0f} "
            f"| {row['work_flops'] / wall['fast'] / rates['linear_flops']:.0%} "
            f"| {row['cache_bytes_read'] / wall['fast'] / rates['read_bytes']:.0%} "
            + ("| –" if peak is None else f"| {peak['exact'] / 1e6:.0f}, {peak['fast'] / 1e6:.0f}")
            + f" | {row['runs']} | {row['load']:.1f} |"
        )
    lines += [
        "",
        "Plain is the path that runs the whole model at every step (`cache=False`). It is "
        "estimated in every row: single steps are timed at the first, middle and last length on "
        "at most 12 windows, in turn with the other runs, summed by Simpson's rule and scaled by "
        "the number of windows. The shares are of the two ceilings over the whole run: a prefill "
        "is bound by the first, a decode step by the second. A bar is two tokens; tokens/s are of "
        "`fast`.",
        "",
    ]
    return "\n".join(lines)


def replace_section(text: str, section: str) -> str:
    """``text`` with the part under the section's own heading replaced, or the section added."""
    heading = section.split("\n", 1)[0]
    before, found, after = text.partition(heading + "\n")
    if not found:
        return (text.rstrip() + "\n\n" if text.strip() else "# Benchmarks\n\n") + section
    following = after.find("\n## ")
    return before + section + ("" if following < 0 else after[following:])
