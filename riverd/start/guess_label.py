"""Which field of a sample is the label, and which of its values are positive."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from riverd.errors import RiverdError
from riverd.screen.notation import share
from riverd.start.guess_positive import Groups, Positive, counts, equal_to, groups_of, obvious, rarest
from riverd.start.sample import Column, Sample

LABEL_NAMES = re.compile(
    r"(^|[._])(label|y|target|outcome|class|late|clicked|click|converted|conversion|churned|churn|fraud|fraudulent|"
    r"default|defaulted|paid|purchased|positive|spam|success|is_\w+)$",
    re.IGNORECASE,
)
STATUS_NAMES = re.compile(r"(^|[._])(label|target|outcome|status|result|decision|verdict|response)$", re.IGNORECASE)
LISTED = 30  # fields in an error


@dataclass(frozen=True, slots=True)
class Label:
    """A field, why it was taken, and what in it is positive: None where it is true or false, 1 or 0."""

    path: str
    why: str
    positive: Positive | None

    def is_positive(self, value: object) -> bool:
        """What the decoder would say of a value that is there."""
        return bool(value) if self.positive is None else value in self.positive.values


def guess_label(sample: Sample, taken: Collection[str], *, wanted: str | None, in_events: bool) -> Label | None:
    """The field that holds the label, or None where a label has none and means positive.

    Parameters
    ----------
    wanted
        The field that was asked for, or ``field=value`` with the value that is positive.

    Raises
    ------
    RiverdError
        The wanted field is none, or there are several and none was chosen.
    """
    if wanted is not None:
        return _wanted(sample, wanted)
    columns = {
        path: column
        for path, column in sample.columns.items()
        if path not in taken and not sample.unusable(path) and len(column.present) >= len(sample) / 2
    }
    binary = [path for path, column in columns.items() if column.is_binary]
    boolean = [path for path in binary if columns[path].holds(bool)]
    others = {path: groups for path in columns if path not in binary and (groups := groups_of(columns[path]))}
    spoken = [path for path, groups in others.items() if obvious(groups)]
    status = [path for path in others if STATUS_NAMES.search(path) and (columns[path].holds(str) or path in spoken)]
    named = [path for path in (*binary, *spoken) if LABEL_NAMES.search(path) or STATUS_NAMES.search(path)]
    if in_events:
        candidates = named or [*boolean, *status]
        if len(candidates) == 1:
            why = "its name says so" if named or status else "the only true or false"
            return _label(candidates[0], columns[candidates[0]], why)
        candidates = candidates or binary or spoken
    else:
        ranks = [paths for paths in ((named, boolean, binary) if binary else (named, spoken, status)) if paths]
        candidates = next((paths for paths in ranks if len(paths) == 1), ranks[0] if ranks else [])
        if len(candidates) <= 1:
            return _label(candidates[0], columns[candidates[0]]) if candidates else None
    if not candidates:
        raise RiverdError(
            f"{sample.path}: no field holds a label, true or false, 1 or 0.\n"
            "  If a field of other values is it, add --label FIELD=VALUE with the value that is positive;\n"
            "  if labels come on a topic of their own, add --labels FILE."
        )
    lines = "\n".join(f"    --label {path:<24} {_label(path, columns[path]).why}" for path in candidates[:12])
    raise RiverdError(f"{sample.path}: several fields could be the label.\n  Choose the one to predict:\n{lines}")


def _wanted(sample: Sample, wanted: str) -> Label:
    path, value = wanted, ""
    if wanted not in sample.columns and "=" in wanted:
        path, _, value = wanted.partition("=")
    column = sample.columns.get(path)
    if column is None:
        raise RiverdError(f"--label {path}: {sample.path} has no such field.\n  {_listed(sample.columns, path)}")
    unusable = sample.unusable(path)
    if unusable:
        raise RiverdError(f"--label {path}: the field can't be read, {unusable}.\n  Choose another, or rename it.")
    groups = groups_of(column)
    if value:
        positive = equal_to(groups, value) if groups else None
        if positive is None:
            holds = counts(groups) if groups else "one value, or too many for a label"
            raise RiverdError(f"--label {wanted}: {path} does not hold that; it holds {holds}.\n  Choose one of them.")
        return _label(path, column, "chosen with --label", positive)
    if not column.is_binary and groups is None:
        seen = list(dict.fromkeys(column.present))
        shown = ", ".join(repr(one) for one in seen[:4]) or "nothing"
        if len(seen) == 1:
            raise RiverdError(
                f"--label {path} holds {shown} alone; a label is true or false, or one of several values.\n"
                "  Choose another field; or none, where labels come on a topic of their own and only ever say yes."
            )
        raise RiverdError(
            f"--label {path} holds {shown}; a label is true or false, 1 or 0, or one of a few values.\n"
            "  Choose another field, or convert it."
        )
    return _label(path, column, "chosen with --label")


def _label(path: str, column: Column, why: str = "", positive: Positive | None = None) -> Label:
    groups: Groups | None = None if column.is_binary else groups_of(column)
    if positive is None and groups is not None:
        positive = obvious(groups) or rarest(groups)
    label = Label(path, "", positive)
    present = column.present
    rate = f"{share(sum(map(label.is_positive, present)) / len(present))} of {len(present):,} are positive"
    return Label(path, f"{why}; {rate}" if why else rate, positive)


def _listed(names: Collection[str], wanted: str) -> str:
    close = get_close_matches(wanted, names, n=1)
    listed = ", ".join(sorted(names)[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
    return (f"Did you mean {close[0]}? " if close else "") + f"Its fields are: {listed}."
