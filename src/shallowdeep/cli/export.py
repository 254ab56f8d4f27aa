"""``shallowdeep export``."""

# ruff: noqa: PLC0415 - torch is imported when a command runs, so that --help answers at once
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shallowdeep.cli.options import AsJson, Threads, context, exit_numbers_in, saved_run, writable_place
from shallowdeep.cli.terminal import notes, show
from shallowdeep.progress import TerminalProgress


def export(
    run: Annotated[Path, typer.Argument(callback=saved_run, help="Directory of a run that `calibrate` gave a policy.")],
    *,
    out: Annotated[Path, typer.Option(callback=writable_place, help="Directory of the bundle, made here.")],
    backend: Annotated[
        str | None,
        typer.Option(
            help="onnxruntime, openvino, torch or cuda-graphs. (default: what calibrate chose for, or onnxruntime)"
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="f32; with openvino also bf16 and int8. (default: likewise, or f32)")
    ] = None,
    exits: Annotated[
        str | None, typer.Option(help="Keep these internal classifiers of a policy without promise, such as 0,2.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Where the run's own data is now, which int8 needs.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Another policy file. (default: the run's)")] = None,
    least_agreement: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of answers in bf16 or int8 that must be float32's. (default: 0.98; any, where the policy was "
            "calibrated on the outputs of that runtime)",
        ),
    ] = None,
    no_static: Annotated[bool, typer.Option("--no-static", help="Leave out the static backbone.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the bundle that is there.")] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run code that the run's manifest names.")] = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Write what runs elsewhere: one file per stage, the policy, class names, preprocessing, checksums."""
    from shallowdeep.inference.promise_here import promises_of
    from shallowdeep.report.tables import plain_table
    from shallowdeep.workflows.export import export_run, summary_of

    with TerminalProgress() as progress:
        bundle = export_run(
            run, out, backend=backend, precision=precision, policy=policy, data=data, static=not no_static,
            overwrite=overwrite, least_equal=least_agreement, exits=None if exits is None else exit_numbers_in(exits),
            context=context(progress, trust=trust, threads=threads),
        )  # fmt: skip
    exported = summary_of(bundle)
    rows = [
        (number, segment.file, f"{segment.bytes / 2**20:.2f}", segment.exit, f"{segment.relative_cost:.3f}")
        for number, segment in enumerate(exported.segments)
    ]
    title = f"{exported.model}, {exported.backend}, {exported.precision}"
    show(exported, plain_table(title, ["call", "file", "MiB", "exit", "cost"], rows), as_json=as_json)
    if exported.agreement is not None:
        same = exported.agreement
        notes().print(f"Answers as in float32: {same.equal:.2%} of {same.images:,} held-out images (tune)")
    if exported.precision != "f32" and not promises_of(bundle.policy) and bundle.withdrawn is None:
        notes().print(
            f"Nothing is promised at {exported.precision}: shallowdeep calibrate {run} --backend {exported.backend} "
            f"--precision {exported.precision} promises something", soft_wrap=True,
        )  # fmt: skip
    if bundle.confusion is None:
        notes().print("No statistics of confusion in the run, so predict tells none; calibrate measures them")
    notes().print(f"Written: {out}. Next: shallowdeep predict {out} IMAGE...", soft_wrap=True)
