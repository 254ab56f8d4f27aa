"""Promises on fresh draws of tune and certify: how often they break, what they cost, whether a looser one costs more.

    shallowdeep evaluate RUN --data DATA --out FOLDER
    python benchmarks/promises.py FOLDER/predictions/all.npz --certify 400 --draws 1000 --out promises.json

All samples of the file are the population, whose true risks are known. Each draw takes tune and certify from it without
replacement, calibrates for every loss, and looks at the policy's true risk.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from shallowdeep.calibration.candidates import candidates
from shallowdeep.calibration.certification import certify_sequence, losses_of, sequence_to_test
from shallowdeep.calibration.risk import ACCURACY_GAP as RISK
from shallowdeep.exits.outcome import outcome_of
from shallowdeep.exits.policy import Policy
from shallowdeep.exits.predictions import ExitPredictions
from shallowdeep.files import write_json
from shallowdeep.machine import available_cores, this_machine

LOSSES = (0.01, 0.015, 0.02, 0.025, 0.03)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Kept:
    """What one loss came to in one draw.

    Attributes:
        tune_cost: mean cost of the policy on tune.
        true_cost: on the population.
        true_risk: mean accuracy lost on the population.
        promised: whether an early exit was promised.
    """

    tune_cost: float
    true_cost: float
    true_risk: float
    promised: bool


def draw(population: ExitPredictions, certify: int, number: int) -> list[Kept]:
    """Return what every loss came to in one draw."""
    order = np.random.default_rng(number).permutation(population.samples)
    parts = order[: certify // 2], order[certify // 2 :][:certify]
    tune, tested = (population.subset(np.sort(part)) for part in parts)
    base = Policy((None,) * (population.exits - 1))
    sequence = sequence_to_test(candidates(tune, base, [tune.labels]), tune, risk=RISK, samples=certify)
    policies = [step.policy for step in sequence]
    found = []
    for loss in LOSSES:
        chosen = certify_sequence(policies, tested, risk=RISK, eps=loss, delta=1 - CONFIDENCE).chosen
        policy = base if chosen is None else policies[chosen]
        outcome = outcome_of(policy, population)
        risk = float(losses_of(RISK, outcome.labels, population).mean())
        cost = 1.0 if chosen is None else sequence[chosen].relative_cost
        found.append(Kept(cost, outcome.relative_cost, risk, len(policy.in_use) > 1))
    return found


def main() -> None:
    """Simulate, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--certify", type=int, default=400)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    population = ExitPredictions.load(arguments.predictions)
    with ProcessPoolExecutor(available_cores()) as pool:
        drawn = list(pool.map(partial(draw, population, arguments.certify), range(arguments.draws), chunksize=10))
    rising = sum(any(after.tune_cost > before.tune_cost + 1e-12 for before, after in pairwise(one)) for one in drawn)
    rows = [
        {
            "max_accuracy_loss": loss,
            "broken_share": float(np.mean([one[place].true_risk > loss for one in drawn])),
            "promised_share": float(np.mean([one[place].promised for one in drawn])),
            "mean_true_cost": float(np.mean([one[place].true_cost for one in drawn])),
        }
        for place, loss in enumerate(LOSSES)
    ]
    for row in rows:
        print(" ".join(f"{name} {value:.4f}" for name, value in row.items()))
    print(f"{rising} of {arguments.draws} draws in which a larger loss cost more on tune")
    if arguments.out is not None:
        document = {
            "population": arguments.predictions.name, "samples": population.samples, "tune": arguments.certify // 2,
            "certify": arguments.certify, "draws": arguments.draws, "confidence": CONFIDENCE,
            "draws_where_a_larger_loss_cost_more": rising, "losses": rows,
            "machine": asdict(this_machine(available_cores())),
        }  # fmt: skip
        write_json(arguments.out, document)


if __name__ == "__main__":
    main()
