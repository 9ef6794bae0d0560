"""The charts of the manual: what each rule saw when it found a simulated fault, drawn as the console draws it.

From: the kinds' declared faults, simulated and judged. To: `deploy/docs/detection/KIND.RULE.svg`. It takes a minute or
two: `make charts` after a detector or a kind changed what it shows.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.demo.slow import runs
from deploy.docs_tables import DOCS
from devices.kinds import load
from processors.evidence.chart import svg

FOLDER = DOCS / "detection"
_SEED = 3


def write(folder: Path = FOLDER) -> set[tuple[str, str]]:
    """Draw one chart for every rule that a declared fault sets off; the (kind, rule) that were drawn."""
    drawn: set[tuple[str, str]] = set()
    kinds = load()
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
    """Draw them all, and name the rules that no declared fault set off."""
    drawn = write()
    rest = [f"{kind.name}.{use.rule}" for kind in load().values() for use in kind.detectors]
    missing = [name for name in rest if tuple(name.split(".", 1)) not in drawn]
    sys.stdout.write(f"{len(drawn)} charts; no declared fault set off: {', '.join(missing) or 'none'}\n")


if __name__ == "__main__":
    main()
