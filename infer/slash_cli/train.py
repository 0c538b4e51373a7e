"""`slash train`."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slash_cli.console import optional_packages, stderr
from slash_cli.next_step import say_export, say_resume
from slash_cli.training_progress import LONGEST_MINUTES, print_outcome, training_context
from slash_infer.errors import UserError
from slash_infer.files import check_exists

if TYPE_CHECKING:
    from slash_train.corpus import Corpus

DEFAULT_PRESET = "slash"


def train(
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="A folder made by slash prepare.")],
    out: Annotated[Path, typer.Option(help="The run to make, a folder; with --resume, the run to continue.")],
    preset: Annotated[
        str | None,
        typer.Option(
            help="Model and recipe. live: two CPU cores, half an hour. slash (the default, but for --init-from, "
            "which has its own): a GPU, a day. "
            "studio: the same at 44.1 kHz. paper-2tier, paper-3tier: the paper's. window-rnn, frame-rnn: what "
            "SampleRNN improves on. demo, tiny: first tries.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the preset; may be repeated."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, max=2**40, help="Stop when the run has this many steps.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.001, max=LONGEST_MINUTES, help="Stop after this many minutes.")
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="box|RUN",
            help="Begin with the weights that come with Slash (box), of another run, or of one of its checkpoints.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run from its last checkpoint.")] = False,
    keep: Annotated[
        int | None,
        typer.Option(min=0, help="Checkpoints to keep besides the best and the last, spread over the run: 5."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Of matrix products: auto (bf16 on devices with instructions for it), fp32 or bf16."),
    ] = None,
    compile_model: Annotated[
        bool, typer.Option("--compile", help="Compile the sample tier with torch.compile first.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.")] = False,
) -> None:
    """Train a SampleRNN on a corpus.

    Ctrl-C finishes the step, saves, makes clips and stops; --resume continues exactly there, also after a crash. At
    each checkpoint, the first after a minute, RUN/previews gets the same clips as they sound by then, and
    RUN/learning_curve.png is drawn.
    docs/training.md says which preset, how long, and what loss is good.

    \b
    slash train corpus --out run --preset live --minutes 30
    slash train corpus --out run --resume --minutes 60
    slash train mine --out my-run --init-from box --minutes 10
    slash train corpus --out run --resume --set training.learning_rate=5e-4
    slash train corpus --out run --set training.batch_size=32 --set model.width=512
    torchrun --nproc-per-node 4 -m slash_cli train corpus --out run --precision bf16
    tensorboard --logdir run
    """
    changes = [*(overrides or ())]
    changes += [f"training.keep={keep}"] * (keep is not None)
    changes += [f"training.precision={precision}"] * (precision is not None)
    changes += [f"training.steps={steps}"] * (steps is not None and not resume)
    opened = _check(corpus, out, preset, changes, resume=resume, init_from=init_from, force=force)
    with optional_packages("train"):
        from slash_train import loop
        from slash_train.config import change_preset, load_preset, require_resumable
        from slash_train.devices import choose_device
        from slash_train.origin import Origin
        from slash_train.run import Run

    origin = None if init_from is None else Origin.open(init_from)
    default = DEFAULT_PRESET if origin is None else origin.trained.preset_name
    name = default if preset is None else preset
    if resume:
        begun = Run(out).preset
        if preset is not None:
            require_resumable(begun, load_preset(preset, changes), out)
        configuration = change_preset(begun, changes)
    else:
        configuration = load_preset(name, changes) if origin is None else origin.configuration(preset, changes)
    at_most = configuration.training.steps if minutes is None else math.inf
    limits = loop.Limits(steps or at_most, minutes or math.inf)
    place = choose_device(device)
    if place.type == "cpu" and preset is None and not resume and origin is None:
        stderr().print(f"slash: preset {DEFAULT_PRESET} is for a GPU; without one, --preset live learns in minutes")
    started = time.monotonic()
    previews = configuration.training.preview_clips > 0
    with training_context(place, previews=previews, compile_model=compile_model) as context:
        if resume:
            outcome = loop.resume(opened, out, preset=configuration, limits=limits, context=context)
        else:
            outcome = loop.train(
                opened, out, name, configuration, limits=limits, context=context, origin=origin, force=force
            )
    if context.workers.is_main:
        print_outcome(outcome)
        if outcome.stopped_by is None:
            say_export(out)
        else:
            rest = max(1, math.ceil(minutes - (time.monotonic() - started) / 60)) if minutes else None
            say_resume(corpus, out, rest, steps)
    if outcome.stopped_by is not None:
        raise typer.Exit(128 + outcome.stopped_by)


def _check(
    corpus: Path,
    out: Path,
    preset: str | None,
    changes: list[str],
    *,
    resume: bool,
    init_from: Path | None,
    force: bool,
) -> "Corpus":
    """Refuse what can be refused without PyTorch, which takes seconds to load; open the corpus."""
    if resume and force:
        raise UserError("--resume", "continues the run as it is, so it does not take --force")
    if resume and init_from is not None:
        raise UserError("--init-from", "begins a new run, and --resume goes on with one", "leave out one of the two")
    with optional_packages("train"):
        from slash_train.choices import names_the_box
        from slash_train.config import load_preset
        from slash_train.corpus import Corpus
        from slash_train.run_metadata import CHECKSUMS, METADATA, check_new_run
    if preset is not None or (init_from is None and not resume):
        load_preset(DEFAULT_PRESET if preset is None else preset, changes)
    if resume:
        check_exists(out, [METADATA])
    else:
        begun = [] if init_from is None or names_the_box(init_from) else [init_from]
        for path in begun:
            check_exists(path, [METADATA, CHECKSUMS])
        check_new_run(out, [corpus, *begun], force=force)
    return Corpus(corpus)
