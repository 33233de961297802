"""`python -m engine.data check`: audit files, or what the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.calendar import TradingCalendar
from engine.command import make_console
from engine.data.arguments import Arguments, parse_arguments
from engine.data.check.audit import audit
from engine.data.check.findings import to_json
from engine.data.check.limits import load_limits, load_symbol_changes
from engine.data.check.show import print_audit, render_html
from engine.data.request import wanted
from engine.data.sources import open_source
from engine.data.sources.files import FileSource, file_kind
from engine.data.store import PriceStore
from engine.errors import UsageError
from engine.files import write_json, write_text

__all__ = ["STATED", "Rows", "read_files", "read_source", "run_check"]

OPTIONS = {"json": True, "html": True, "calendar": True, "rules": True, "symbol-changes": True}

USAGE = """\
usage: python -m engine.data check [FILE …] [--data.store FILE] [--calendar NAME]
                                   [--json OUT] [--html OUT] [--rules FILE] [--symbol-changes FILE]

Audits bars: Parquet or CSV files or folders; without one the price store (--data.store, or
prices.duckdb), or where there is none the source that the settings name (--data.source). The exit
code is 0, whatever is found; --json has every finding. --calendar is an exchange_calendars
name (XNYS; 24/7 for crypto). --rules (configs/check.yaml) holds the thresholds, --symbol-changes
(configs/symbol_changes.yaml) the symbols that belonged to another security before.
"""

STATED = pl.Schema({"kind": pl.String, "ticker": pl.String, "value": pl.String})

_LABELS = {
    "currency": "currency",
    "timezone": "zone",
    "time_zone": "zone",
    "tz": "zone",
}

_BARS = (".parquet", ".pq", ".csv", ".csv.gz", ".txt")
_OFFSET = r"[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})\s*$"


def run_check(arguments: list[str]) -> int:
    """Audit what the arguments name; 0 whatever is found.

    Raises UsageError where a file cannot be read or an argument is unknown.
    """
    given = parse_arguments(arguments, OPTIONS)
    options = {key: str(value) for key, value in given.options.items()}
    console = make_console()
    if "help" in options:
        console.print(USAGE, highlight=False, markup=False)
        return 0
    read = read_files if given.files else read_source
    rows = read(given, options.get("calendar"))
    found = audit(
        rows.bars,
        rows.calendar,
        limits=load_limits(options.get("rules", "check.yaml")),
        changes=load_symbol_changes(options.get("symbol-changes", "symbol_changes.yaml")),
        stated=rows.stated,
        quarantined_before=rows.quarantine,
        sources=rows.names,
    )
    print_audit(console, found)
    if "json" in options:
        write_json(Path(options["json"]), to_json(found.findings))
    if "html" in options:
        write_text(Path(options["html"]), render_html(found))
    for key in ("json", "html"):
        if key in options:
            console.print(f"written: {options[key]}", highlight=False, markup=False)
    return 0


@dataclass(frozen=True)
class Rows:
    """What is to be audited.

    Attributes
    ----------
    bars
        As `contract.conform` returns them.
    calendar
        The exchange's.
    stated
        `STATED`: the currencies and zones that columns of the files, or their times, name.
    quarantine
        What earlier imports left out; None of files.
    names
        What the input is called.
    """

    bars: pl.DataFrame
    calendar: TradingCalendar
    stated: pl.DataFrame
    quarantine: pl.DataFrame | None
    names: tuple[str, ...]


def read_files(given: Arguments, calendar: str | None) -> Rows:
    """The rows of every file or folder, in the order given.

    Raises
    ------
    UsageError
        A path does not exist or is no Parquet or CSV file, or daily and intraday bars are mixed.
    """
    data = given.settings.data
    exchange = TradingCalendar(calendar or data.calendar)
    zone = data.timezone or exchange.zone
    columns = data.columns.model_dump(exclude_none=True)
    frames = [
        FileSource(path, file_kind(path), zone=zone, columns=columns).fetch().bars
        for path in given.files
    ]
    if any(frame.columns != frames[0].columns for frame in frames):
        raise UsageError("check: daily and intraday files cannot be audited together")
    stated = [_stated(file) for path in given.files for file in _files(path)]
    names = tuple(str(path) for path in given.files)
    whole = pl.concat([pl.DataFrame(schema=STATED), *stated]).unique().sort(*STATED)
    return Rows(pl.concat(frames), exchange, whole, None, names)


def read_source(given: Arguments, calendar: str | None) -> Rows:
    """The bars of the store, or without one of the source that the settings name.

    Raises UsageError where it cannot be opened, or is of another calendar than the one given.
    """
    data = given.settings.data
    stored = "data.store" in given.given or ("data.source" not in given.given)
    if stored and (given.store.exists() or data.store is not None):
        held = PriceStore.open(given.store, bar=data.bar).calendar
        data = data.model_copy(update={"source": "duckdb", "store": given.store})
        named = calendar or (data.calendar if "data.calendar" in given.given else held.name)
    else:
        named = calendar or data.calendar
    data = data.model_copy(update={"calendar": named})
    exchange = TradingCalendar(named)
    source = open_source(data, exchange)
    loaded = source.fetch(wanted(data), data.start, data.end)
    empty = pl.DataFrame(schema=STATED)
    return Rows(loaded.bars, exchange, empty, loaded.quarantine, (source.name,))


def _stated(file: Path) -> pl.DataFrame:
    if file_kind(file) == "parquet":
        rows = pl.scan_parquet(file, glob=False)
    else:
        rows = pl.scan_csv(file, infer_schema=False, glob=False)
    try:
        schema = rows.collect_schema()
        spelled = {name.strip().lower(): name for name in schema.names()}
        symbol = spelled.get("ticker")
        ticker = pl.col(symbol).cast(pl.String) if symbol else pl.lit(file.name.split(".")[0])
        values = [
            (kind, pl.col(spelled[name]).cast(pl.String))
            for name, kind in _LABELS.items()
            if name in spelled
        ]
        for name in ("ts", "date"):
            if name in spelled and schema[spelled[name]] == pl.String:
                offset = pl.col(spelled[name]).str.extract(_OFFSET).replace({"Z": "+00:00"})
                values.append(("zone", offset))
        frames = [
            rows.select(kind=pl.lit(kind), ticker=ticker, value=value).unique().drop_nulls()
            for kind, value in values
        ]
        return pl.concat([pl.LazyFrame(schema=STATED), *frames]).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"{file}: {str(error).splitlines()[0]}") from None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    kind = file_kind(path)
    return [
        file
        for file in sorted(path.iterdir())
        if file.name.lower().endswith(_BARS) and file.name[0] not in "._"
        if file.is_file() and file_kind(file) == kind
    ]
