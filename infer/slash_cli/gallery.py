"""`slash gallery`."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from slash_cli.console import BAR_WIDTH, optional_packages, progress_bar, stderr, stdout
from slash_infer.errors import UserError


def gallery(
    sources: Annotated[
        list[Path], typer.Argument(metavar="CLIPS...", help="Clips, folders of clips, training runs, auditions.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make; open its index.html.")],
    title: Annotated[str, typer.Option(help="The page's heading.")] = "Slash gallery",
    url: Annotated[
        str | None, typer.Option(help="Where the folder will be published: links to it are shown with a picture.")
    ] = None,
    recording: Annotated[
        bool, typer.Option(help="Show ten seconds of a held-out recording beside the clips of a run.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier gallery.")] = False,
) -> None:
    """Make a web page to listen to clips on, with their pictures and settings. It opens without a server.

    Of a training run, the page has ten seconds of a held-out recording, too, if its corpus is still there.

    \b
    slash gallery clips --out page
    slash gallery run clips --out page --title "Two guitars"
    """
    with optional_packages("gallery"):
        from slash_infer.gallery.find import GALLERY_METADATA, count_clips, count_recordings, find_sections
        from slash_infer.gallery.page import MADE_BY, make_gallery
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    from slash_cli.held_out import held_out_recording
    from slash_infer.files import check_directory_output

    if not title.strip():
        raise UserError("--title", "is empty", "give the page a heading")
    if url is not None and not _is_a_folder_on_the_web(url):
        raise UserError("--url", f"{url} is no folder on the web", "give one such as https://example.org/page/")
    check_directory_output(out, force=force, metadata=GALLERY_METADATA, made_by=MADE_BY, inputs=sources)
    sections = find_sections(sources, held_out_recording if recording else lambda _: None)
    for section in sections:
        if section.recording is not None:
            stderr().print(
                f"the page has ten seconds of {section.recording.name}, too; --no-recording leaves them out"
            )
    left_out = sum(section.left_out for section in sections)
    if left_out:
        files = "file that has" if left_out == 1 else "files that have"
        stderr().print(f"left out {left_out} audio {files} no sidecar of slash generate")
    clips = count_clips(sections)
    with progress_bar(TextColumn("drawing"), BarColumn(BAR_WIDTH), TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=clips + count_recordings(sections))
        make_gallery(sections, out, title, lambda: progress.update(task, advance=1), url=url, force=force)
    print_gallery(out, clips)


def _is_a_folder_on_the_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)


def print_gallery(out: Path, clips: int) -> None:
    """Print where to open a gallery."""
    stdout().print(f"{clips} {'clip' if clips == 1 else 'clips'}: open {out / 'index.html'} in a browser")
