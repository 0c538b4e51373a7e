"""Files on disk: outputs that appear whole or not at all, and inputs that are plain files of a bounded size."""

from slash_infer.files.atomic import atomic_directory, atomic_file, write_json
from slash_infer.files.faults import any_fault, naming_errors, remedy_for
from slash_infer.files.json_files import JSON_LIMIT, check_exists, parse_json, read_json, read_json_file
from slash_infer.files.locks import locked
from slash_infer.files.outputs import FileRule, check_directory_output, check_file_output
from slash_infer.files.parts import scratch_directory, sweep, sweep_below
from slash_infer.files.plain import open_plain_file, real_path

__all__ = [
    "JSON_LIMIT",
    "FileRule",
    "any_fault",
    "atomic_directory",
    "atomic_file",
    "check_directory_output",
    "check_exists",
    "check_file_output",
    "locked",
    "naming_errors",
    "open_plain_file",
    "parse_json",
    "read_json",
    "read_json_file",
    "real_path",
    "remedy_for",
    "scratch_directory",
    "sweep",
    "sweep_below",
    "write_json",
]
