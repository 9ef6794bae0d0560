"""The charts of the manual: what each rule saw when it found a simulated fault, drawn as the console draws it.

From: the kinds' declared faults, simulated and judged. To: `deploy/docs/detection/KIND.RULE.svg`. It takes minutes:
`make charts` after a detector or a kind changed what it shows, `make charts KINDS=water_pressure` for one kind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.demo.slow import runs
from deploy.docs_tables import DOCS
from devices.kinds import load
from devices.spec import Kind
from processors.evidence.chart import svg

FOLDER = DOCS / "detection"
_SEED = 3


def write(kinds: Mapping[str, Kind], folder: Path = FOLDER) -> set[tuple[str, str]]:
    """Draw one chart for every rule of `kinds` that a declared fault sets off; the (kind, rule) that were drawn."""
    drawn: set[tuple[str, str]] = set()
    for run in runs(kinds, (), _SEED):
        wanted = {(label.device, rule) for label in run.labels for rule in label.rules}
        for span in run.spans:
            key = (run.kind.name, span.rule)
            if key in drawn or (span.device, span.rule) not in wanted:
                continue
            text = svg(span.finding, kinds[run.kind.name], zh=False)
            if text:
                (folder / f"{run.kind.name}.{span.rule}.svg").write_text(text + "\n", encoding="utf-8")
                drawn.add(key)
    return drawn


def main() -> None:
    """Draw them all or those of the kinds named, and name the rules that no declared fault set off."""
    kinds = load()
    parser = argparse.ArgumentParser(prog="make charts", description=main.__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="only this kind; default: every kind")
    wanted = parser.parse_args().kinds or list(kinds)
    if unknown := [name for name in wanted if name not in kinds]:
        parser.error(f"expected some of {', '.join(kinds)}; got {', '.join(unknown)}; nothing was drawn")
    kinds = {name: kinds[name] for name in wanted}
    drawn = write(kinds)
    rest = [f"{kind.name}.{use.rule}" for kind in kinds.values() for use in kind.detectors]
    missing = [name for name in rest if tuple(name.split(".", 1)) not in drawn]
    sys.stdout.write(f"{len(drawn)} charts; no declared fault set off: {', '.join(missing) or 'none'}\n")


if __name__ == "__main__":
    main()
