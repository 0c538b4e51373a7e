"""The progress line of training: short enough for a terminal that is made narrower, the time left first."""

from slash_cli.console import progress_bar
from slash_cli.training_progress import ProgressReport
from slash_train.metrics import Metrics


def test_the_line_is_short_and_begins_with_the_time_left() -> None:
    """Two days to go, at the rate of a GPU."""
    progress = progress_bar()
    task = progress.add_task("", total=1.0)
    report = ProgressReport(progress, task)
    for step, seconds in ((1, 0.0), (12_345_678, 172.8)):
        metrics = Metrics(
            step=step,
            samples=step,
            seconds=seconds,
            train_bits=5.364,
            samples_per_second=1_234_567.0,
            gradient_norm=1.0,
            learning_rate=1e-3,
        )
        report(metrics, seconds / 172_800)
    said = progress.tasks[task].description
    assert said == "47 h 57 min left  5.364 bits  1,234,567 samples/s"
    assert len(f"training 99%  {said}") <= 64
