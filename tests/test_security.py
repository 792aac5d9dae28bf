"""Check that the package calls no reader that unpickles, no YAML loader that builds objects, no shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import braindino

SOURCES = sorted(Path(braindino.__file__).parent.rglob("*.py"))
# Readers that unpickle by default: name -> the required keyword and its value.
GUARDED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "joblib.load", "shelve.open"),
    *("pd.read_pickle", "torch.hub.load", "torch.jit.load", "jit.load"),
    *("yaml.load", "yaml.full_load", "yaml.unsafe_load"),
    *("os.system", "os.popen", "subprocess.getoutput", "tarfile.open", "shutil.unpack_archive"),
    "Markup",  # jinja2 does not escape its content
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield dotted name and node of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def faults(path: Path) -> list[str]:
    violations = []
    escapes = "jinja2" in path.read_text()
    for name, call in calls(path):
        given = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
        if name in FORBIDDEN or name.endswith(".extractall"):
            violations.append(f"line {call.lineno}: {name}")
        if name in GUARDED and given.get(GUARDED[name][0]) is not GUARDED[name][1]:
            violations.append(f"line {call.lineno}: {name} without {GUARDED[name][0]}={GUARDED[name][1]}")
        if given.get("shell") or given.get("allow_pickle") or given.get("weights_only") is False:
            violations.append(f"line {call.lineno}: {name} with shell, allow_pickle or weights_only=False")
        if name.endswith("Environment") and escapes and given.get("autoescape") is not True:
            violations.append(f"line {call.lineno}: {name} without autoescape=True")
    return violations


# Only these modules may write tables or parse JSON and YAML themselves.
WRITERS = {".to_csv", "csv.writer", "csv.DictWriter"}
READERS = {"json.load", "json.loads", "yaml.safe_load"}
MAY_WRITE = {"csv_text.py", "embedding_files.py", "training/csv_logger.py", "synthetic/files.py"}
MAY_READ = {
    *("documents.py", "store/ledger.py"),  # each line of a ledger is parsed separately
    "dicom/dcm2niix.py",  # files that dcm2niix has just written
    "config/arguments.py",  # text from the command line
    "config/keys.py",  # the same
    "config/parser.py",  # text that the parser has just dumped
    *("generic/bids_tables.py", "datasets/bids_ignore.py"),  # in any encoding
    "probing/callbacks.py",  # inside of a checkpoint
    "doctor/torch_build.py",  # output of a child process
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_package_writes_tables_and_reads_documents_in_one_place(path: Path) -> None:
    name = "/".join(path.parts[-2:])
    ends = tuple(WRITERS if not name.endswith(tuple(MAY_WRITE)) else ())
    ends += tuple(READERS if not name.endswith(tuple(MAY_READ)) else ())
    assert [
        f"line {call.lineno}: {called}" for called, call in calls(path) if called.endswith(ends or "?")
    ] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_package_calls_nothing_that_runs_content_of_files(path: Path) -> None:
    assert faults(path) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader)",
        "subprocess.run(words, shell=True)",
        "trainer.fit(model, weights_only=False)",
        "archive.extractall(folder)",
        "from jinja2 import Environment; Environment(loader=None)",
        "eval(text)",
    ],
)
def test_audit_reports_forbidden_calls(line: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(line)
    assert faults(file)
