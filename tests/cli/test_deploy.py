"""The files in examples/deploy, as far as they can be tried without a container engine or a cluster."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from slash_process import slash

DEPLOY = Path(__file__).resolve().parents[2] / "examples" / "deploy"
FILES = sorted(path.name for path in DEPLOY.iterdir())


def _commands(name: str) -> list[list[str]]:
    """Return the words after `slash` of every command in a file."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    if name == "compose.yaml":
        return [service["command"] for service in yaml.safe_load(text)["services"].values()]
    if name == "job.yaml":
        text = "\n".join(_containers(text)[0]["args"])
    text = text.replace("$((JOB_COMPLETION_INDEX + 1))", "1").replace("$SLURM_ARRAY_TASK_ID", "1")
    return [shlex.split(found) for found in re.findall(r"slash(?:-gpu)? (generate .*)", text)]


def _containers(text: str) -> Any:
    return yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]


@pytest.mark.parametrize("name", FILES)
def test_every_command_is_understood(name: str, tmp_path: Path) -> None:
    """What is named is not there, and that is all that is wrong."""
    commands = _commands(name)
    assert commands
    for words in commands:
        here = [word.removeprefix("/") if word in ("/bundle", "/clips") else word for word in words]
        if "bundle" not in here:
            here.insert(1, "bundle")
        done = slash(*[word.replace("/clips/", "") for word in here], cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.startswith("slash: bundle: does not exist"), done.stderr


def test_the_job_has_a_part_for_every_pod() -> None:
    job = yaml.safe_load((DEPLOY / "job.yaml").read_text())
    assert job["spec"]["completionMode"] == "Indexed"
    assert f"/{job['spec']['completions']}" in _containers((DEPLOY / "job.yaml").read_text())[0]["args"][0]


def test_the_array_has_a_task_for_every_part() -> None:
    text = (DEPLOY / "array.sbatch").read_text()
    assert "--array=1-32" in text and '$SLURM_ARRAY_TASK_ID/32"' in text
    subprocess.run(["/bin/bash", "-n", str(DEPLOY / "array.sbatch")], check=True)


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_images_install_extras_that_exist_and_run_without_rights(name: str) -> None:
    text = (DEPLOY / name).read_text()
    (extras,) = re.findall(r"\[([a-z,]+)\]\"", text)
    pyproject = (DEPLOY.parents[1] / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in pyproject for extra in extras.split(","))
    assert "\nUSER slash\n" in text and '\nENTRYPOINT ["slash"]\n' in text
    assert (DEPLOY.parents[1] / "constraints.txt").exists() and "COPY constraints.txt" in text
