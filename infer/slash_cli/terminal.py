"""What reaches the terminal: all that is printed becomes printable here, whoever named the files and folders."""

from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.text import Text
from typing_extensions import override

from slash_infer.errors import printable


class PlainConsole(Console):
    """A console for plain text, in lines and tables. What looks like markup or an emoji's name stays as it is.

    Args:
        to_stderr: whether it writes to stderr rather than stdout.
    """

    def __init__(self, *, to_stderr: bool = False) -> None:
        super().__init__(stderr=to_stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


class PlainProgress(Progress):
    """A progress display whose descriptions are plain text."""

    @override
    def add_task(self, description: str, *arguments: Any, **options: Any) -> TaskID:
        return super().add_task(printable(description), *arguments, **options)

    @override
    def update(self, task_id: TaskID, *, description: str | None = None, **options: Any) -> None:
        text = None if description is None else printable(description)
        super().update(task_id, description=text, **options)
