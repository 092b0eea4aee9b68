"""Compiled: events and ops one after another, through encoder and learner."""

from __future__ import annotations

import numpy as np
from numba import njit

from models.kernels.encoding import encode, expand, observe_numbers
from models.kernels.ftrl import ftrl_learn, ftrl_logit
from models.kernels.layout import MIXED, VALUE
from models.kernels.mixture import expert_logits, mixture_ask, mixture_learn
from models.state import ASKED, DROPPED, LEARNED
from stream.records import DROP, LEARN, SCORE


@njit(cache=True, error_model="numpy", inline="always")
def frozen_logit(frozen, slot, value, plain, size):
    """What the reference says; slots from ``plain`` on are hats."""
    logit = 0.0
    for i in range(size):
        logit += frozen[slot[i], 0] * value[i]
    for i in range(plain):
        logit += frozen[slot[i], 1] * value[i]
    return logit


@njit(cache=True, error_model="numpy", nogil=True)
def walk(entries, events, ops, rows, base, state, bias, settings, slot, scratch, frozen):
    """Carry out the ops one after another, from and into the row table; ``frozen`` is the reference, if any."""
    # fields of tuples are taken out once: in the loop each would cost a count of references
    weights, mixing, counters, dirty, ahead = state.weights, state.mixing, state.counters, state.dirty, state.ahead
    statistics, sample, sampled, random = state.statistics, state.sample, state.sampled, state.random
    categories, numbers, words = events.categories, events.numbers, events.words
    codes, op_rows, records, labels = ops.code, ops.row, ops.record, ops.label
    starts, sizes, logits, used, said = rows.start, rows.size, rows.logit, rows.used, rows.said
    cell, importance, reference = rows.cell, rows.weight, rows.reference
    has_reference = len(frozen) > 0
    real = cell.view(np.float32)
    value = scratch[VALUE]
    mixed = settings[MIXED] != 0.0
    plain = size = np.int64(0)
    logit = 0.0
    for i in range(len(codes)):
        code = codes[i]
        r = op_rows[i] - base
        if code & SCORE:
            at, start = records[i], used[0]
            count = encode(
                entries,
                categories,
                numbers,
                words,
                at,
                statistics,
                sample,
                sampled,
                counters[ASKED],
                bias,
                cell,
                real,
                start,
            )
            plain, size = expand(entries, bias, cell, real, start, slot, value)
            if mixed:
                logit = mixture_ask(weights, mixing, counters, slot, value, plain, size, scratch, said, r)
            else:
                logit = ftrl_logit(weights, settings, slot, value, size, scratch)
            logits[r] = logit
            reference[r] = frozen_logit(frozen, slot, value, plain, size) if has_reference else np.nan
            observe_numbers(entries, numbers, at, statistics, sample, sampled, random, counters)
            ahead[0] = op_rows[i] - counters[ASKED]
            starts[r] = start
            sizes[r] = count
            used[0] = start + count
        if code & LEARN:
            if not code & SCORE:  # else all that stands there already
                plain, size = expand(entries, bias, cell, real, starts[r], slot, value)
                if mixed:
                    expert_logits(weights, mixing, slot, value, plain, size, scratch)
                else:
                    logit = ftrl_logit(weights, settings, slot, value, size, scratch)
            label, weight = float(labels[i]), float(importance[r])
            if mixed:
                later = float(counters[ASKED] + ahead[0] - op_rows[i])
                mixture_learn(
                    weights,
                    dirty,
                    mixing,
                    settings,
                    slot,
                    value,
                    plain,
                    size,
                    said,
                    r,
                    logits[r],
                    later,
                    label,
                    weight,
                    scratch,
                )
            else:
                ftrl_learn(weights, dirty, settings, slot, value, size, logit, label, weight, scratch)
            counters[LEARNED] += 1
        elif code & DROP:
            counters[DROPPED] += 1
        if code & (LEARN | DROP):  # the features are no longer needed; at the arena's end they make room at once
            start, count = starts[r], np.int64(sizes[r])
            if start + count == used[0]:
                used[0] -= count
            else:
                used[1] += count
            sizes[r] = 0


@njit(cache=True, error_model="numpy", nogil=True)
def ask(entries, categories, numbers, words, state, bias, settings, cell, said, logits, slot, scratch, moving):
    """Write what is to be said of events now, and return the number of the last one's cells.

    Where ``moving``, each then moves the statistics, as those behind it see them.
    """
    weights, mixing, counters = state.weights, state.mixing, state.counters
    statistics, sample, sampled, random = state.statistics, state.sample, state.sampled, state.random
    real = cell.view(np.float32)
    value = scratch[VALUE]
    start = np.int64(0)
    count = np.int64(0)
    for i in range(len(logits)):
        count = encode(
            entries,
            categories,
            numbers,
            words,
            i,
            statistics,
            sample,
            sampled,
            counters[ASKED],
            bias,
            cell,
            real,
            start,
        )
        plain, size = expand(entries, bias, cell, real, start, slot, value)
        if settings[MIXED] != 0.0:
            logits[i] = mixture_ask(weights, mixing, counters, slot, value, plain, size, scratch, said, i)
        else:
            logits[i] = ftrl_logit(weights, settings, slot, value, size, scratch)
        if moving:
            observe_numbers(entries, numbers, i, statistics, sample, sampled, random, counters)
    return count


@njit(cache=True, error_model="numpy", nogil=True)
def learn(entries, state, bias, settings, cell, said, logit, later, label, importance, slot, scratch):
    """Learn the label of an event by its cells, what was said of it, and how many were asked about since."""
    weights, mixing, counters, dirty = state.weights, state.mixing, state.counters, state.dirty
    value = scratch[VALUE]
    plain, size = expand(entries, bias, cell, cell.view(np.float32), np.int64(0), slot, value)
    if settings[MIXED] != 0.0:
        expert_logits(weights, mixing, slot, value, plain, size, scratch)
        mixture_learn(
            weights,
            dirty,
            mixing,
            settings,
            slot,
            value,
            plain,
            size,
            said,
            0,
            logit,
            later,
            label,
            importance,
            scratch,
        )
    else:
        now = ftrl_logit(weights, settings, slot, value, size, scratch)
        ftrl_learn(weights, dirty, settings, slot, value, size, now, label, importance, scratch)
    counters[LEARNED] += 1


@njit(cache=True, error_model="numpy", nogil=True)
def ask_and_learn(
    entries, categories, numbers, words, labels, importance, state, bias, settings, cell, said, slot, scratch
):
    """Events in order, each asked about and learned before the next."""
    weights, mixing, counters, dirty = state.weights, state.mixing, state.counters, state.dirty
    statistics, sample, sampled, random = state.statistics, state.sample, state.sampled, state.random
    real = cell.view(np.float32)
    value = scratch[VALUE]
    start = np.int64(0)
    for i in range(len(labels)):
        encode(
            entries,
            categories,
            numbers,
            words,
            i,
            statistics,
            sample,
            sampled,
            counters[ASKED],
            bias,
            cell,
            real,
            start,
        )
        plain, size = expand(entries, bias, cell, real, start, slot, value)
        label, weight = labels[i], importance[i]
        if settings[MIXED] != 0.0:
            logit = mixture_ask(weights, mixing, counters, slot, value, plain, size, scratch, said, 0)
            observe_numbers(entries, numbers, i, statistics, sample, sampled, random, counters)
            mixture_learn(
                weights, dirty, mixing, settings, slot, value, plain, size, said, 0, logit, 0.0, label, weight, scratch
            )
        else:
            logit = ftrl_logit(weights, settings, slot, value, size, scratch)
            observe_numbers(entries, numbers, i, statistics, sample, sampled, random, counters)
            ftrl_learn(weights, dirty, settings, slot, value, size, logit, label, weight, scratch)
        counters[LEARNED] += 1


@njit(cache=True, error_model="numpy")
def slots_and_values(entries, bias, cell, slot, value):
    """Write what cells stand for; return how many slots there are without hats and with them."""
    return expand(entries, bias, cell, cell.view(np.float32), np.int64(0), slot, value)
