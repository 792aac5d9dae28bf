"""Run the command: find the verb, and print help and typing errors before heavy imports."""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from braindino.errors import BraindinoError
from braindino.network import forbid_network, without_wandb
from braindino.version import __version__

# A plain verb is the function of its name in the module of its name.
PLAIN_VERBS = {
    "synth": "write a synthetic copy of a dataset in its native layout",
    "index": "list the scans of a folder in a manifest (CSV)",
    "check": "check a manifest row by row",
    "prepare": "preprocess the scans of a manifest into a store",
    "export": "write a pretraining run's encoder as a folder for timm and braindino",
    "embed": "write the features of scans as a table",
    "compare": "test encoders against each other by their probes' predictions",
    "report": "write finished probes as one page, and as tables for a paper",
    "bench": "probe several encoders on several tasks, as one table that is resumed",
    "status": "show how far a bench or probes are",
    "predict": "predict labels of new scans with a finished probe",
    "maps": "draw an encoder's patch tokens over a scan",
    "space": "plot features in two dimensions, or compare encoders by CKA",
    "knn": "predict a label by nearest neighbours, encoder against encoder",
    "demo": "run the whole path on a synthetic cohort",
    "doctor": "show what is installed, what is missing, and what the machine can do",
}
LIGHTNING_VERBS = {
    "fit": "pretrain an encoder on a store",
    "validate": "evaluate the pretraining losses on held-out people",
    "test": "evaluate the pretraining losses on a whole store",
    "probe": "train and test heads on a frozen encoder",
}
ORDER = (
    "synth",
    "index",
    "check",
    "prepare",
    "fit",
    "validate",
    "test",
    "export",
    "probe",
    "embed",
    "predict",
    "maps",
    "space",
    "knn",
    "compare",
    "report",
    "bench",
    "status",
    "demo",
    "doctor",
)
# Verbs of seconds or minutes that save no partial results.
START_OVER = ("export", "space", "compare", "report", "status", "doctor")
HELP_HINT = "`braindino --help` lists the verbs."


def usage() -> str:
    """Return the text of `braindino --help`."""
    verbs = {**PLAIN_VERBS, **LIGHTNING_VERBS}
    lines = [
        "usage: braindino VERB [arguments]        braindino VERB --help lists the arguments of a verb",
        "",
        "Foundation models for brain MRI: pretrain on unlabelled slices, freeze, probe.",
        "",
        *(f"  {verb:<9} {verbs[verb]}" for verb in ORDER),
        "",
        "  --version  --help  --offline",
        "",
        "fit, validate, test and probe take `--config FILE` (several are merged) and `--dotted.key VALUE`;",
        "a shipped config is found by its name from any folder; a local file of that name takes precedence.",
        "Nothing is downloaded or uploaded unless you request it (an encoder `hub:NAME`, `--run.wandb",
        "online`); `--offline`, which every verb takes, refuses that too.",
        "Exit codes: 0 done, 1 done but something was rejected or failed, 2 wrong input, 130 interrupted.",
        "For research use; no clinical claim.",
    ]
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return text with control characters escaped, because file names and cells may contain any."""
    return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; wrong input prints a short message.

    Args:
        arguments: words after `braindino`; those of this process by default.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        if arguments[:1] == ["index"] or arguments[:2] == ["--offline", "index"]:
            # No other verb runs in this process.
            import_module("braindino.datasets.listing").list_only()
    arguments = list(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"braindino {__version__}")
        return 0
    if "--offline" in arguments:
        forbid_network()
        arguments = [word for word in arguments if word != "--offline"]
        return main(arguments)
    verb, rest = arguments[0], arguments[1:]
    with without_wandb():
        return _run(verb, rest)


def _run(verb: str, rest: Sequence[str]) -> int:
    try:
        # `doctor` parses its arguments itself, because it must work with broken packages.
        if verb == "doctor":
            return int(import_module("braindino.cli.doctor.command").run(rest))
        if verb in PLAIN_VERBS:
            return int(import_module("braindino.cli.typed_verb").run(verb, rest))
        if verb in LIGHTNING_VERBS:
            return int(import_module("braindino.cli.config.parser").run(verb, rest))
        near = difflib.get_close_matches(verb, ORDER, n=1, cutoff=0.5)
        meant = f" Did you mean `braindino {near[0]}`?" if near else ""
        raise BraindinoError(f"no verb {verb!r}.{meant}\n{HELP_HINT}")
    except BraindinoError as error:
        print(f"braindino: error: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        continues = "starts over" if verb in START_OVER else "continues where it stopped"
        again = str(stop) or f"the same command again {continues}"
        print(f"\nbraindino: interrupted; {again}.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output has closed it
        return 1
    except ImportError as error:
        error.add_note("`braindino doctor` shows what is missing or broken, and how to repair it.")
        raise
    except OSError as error:
        if error.filename is None:  # not about a file of the user
            raise
        print(f"braindino: error: {printable(str(error.filename))}: {error.strerror}.", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
