"""Check names, docstrings and words: ``python -m tests.language``, which ``make check`` runs.

- The summary of a docstring is an imperative or a noun phrase of at least four words. It does not begin with a question
  word or a pronoun.
- A public class or function has a docstring. A method goes without where the method that it implements has one.
- Words that readers would have to learn here are replaced by those of the field: :data:`WORDS` has the better ones.
"""

import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

__all__ = ["EXCEPTIONS", "WORDS", "main", "violations"]

REPOSITORY = Path(__file__).resolve().parent.parent

LEAST_WORDS = 4
BEGINNINGS = re.compile(
    r"(What|Who|Whose|How|Whether|Which|Where|When|Why|Something|Somebody|Nobody|Whatever|Whoever"
    r"|It|Its|Them|They|Others|Ours|See)\b"
)

WORDS: dict[str, str] = {
    r"see there": "name the place",
    r"asked for": "requested",
    r"likewise": "the same",
    r"is the matter": "has failed",
    r"are others": "have changed",
    r"let go": "released",
    r"borne|bears?": "tolerate, limit, have",
    r"take back|takes back|taken back": "cancel, withdraw",
    r"floors?": "layer",
    r"house": "layers, rules",
    r"desk": "service",
    r"somebody": "the operator, a caller, another process",
    r"nobody": "no caller; unknown",
    r"whoever": "the caller, the client",
    r"he|him|his": "the operator, the caller",
    r"of ours": "server-initiated, of the daemon",
    r"witness(?:es)?": "command log",
    r"obedience": "command executor",
    r"outlets?": "streaming body",
    r"stands(?! for)": "is open, is set, is in, is at rest",
    r"(?:is|was|are|were) away|turned away": "unavailable, refused",
    r"goes (?:before|by|first|wrong)": "overtakes, decides by, fails",
    r"as its description says": "the reason, in words",
}
"""Words that are not used, as regular expressions, and what is written instead."""

EXCEPTIONS: dict[str, str] = {
    "cmmd/store/postgres/inspector.py: SELECT floor(": "a function of SQL",
    "cmmd/web/api/context.py: :ivar desk:": "the name of an attribute",
}
"""Lines that are right all the same, as ``path: text that the line holds``, and why. At most 30."""

MOST_EXCEPTIONS = 30
DOCUMENTS = ("*.md", "docs/*.md", "etc/*.toml", "cmmd/web/static/text/en.json")


def violations(root: Path) -> list[str]:
    """Find everything in a checkout that the rules forbid.

    :return: one line for each, with its place.
    """
    found: list[str] = []
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((root / "cmmd").rglob("*.py"))}
    trees = {path: ast.parse(source, str(path)) for path, source in sources.items()}
    documented = {name for tree in trees.values() for name in _documented_methods(tree)}
    for path, tree in trees.items():
        place = str(path.relative_to(root))
        found += (f"{place}:{line}: {text}" for line, text in _docstrings(tree, documented))
        found += (f"{place}:{line}: {text}" for line, text in _words(_prose(sources[path])))
    for pattern in DOCUMENTS:
        for path in sorted(root.glob(pattern)):
            place = str(path.relative_to(root))
            found += (f"{place}:{line}: {text}" for line, text in _words(_lines(path)))
    return [line for line in found if not any(_excepts(exception, line) for exception in EXCEPTIONS)]


def _excepts(exception: str, line: str) -> bool:
    path, _, text = exception.partition(": ")
    return line.startswith(f"{path}:") and text in line


# --- docstrings ---------------------------------------------------------------------------------------------------


def _docstrings(tree: ast.Module, documented: set[str]) -> Iterator[tuple[int, str]]:
    for node, owner in _definitions(tree):
        name = getattr(node, "name", "")
        line = getattr(node, "lineno", 1)
        text = ast.get_docstring(node)
        if text is None:
            private = name.startswith("_") or (owner is not None and owner.name.startswith("_"))
            if not private and not (owner is not None and name in documented):
                yield line, f"{name} has no docstring, and implements nothing that has one"
            continue
        summary = text.partition("\n\n")[0].replace("\n", " ")
        if BEGINNINGS.match(summary):
            yield line, f"a summary begins with a verb or names a thing: {summary}"
        elif len(summary.split()) < LEAST_WORDS:
            yield line, f"a summary has {LEAST_WORDS} words or more: {summary}"


_Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(tree: ast.Module) -> Iterator[tuple[_Definition, ast.ClassDef | None]]:
    """All that can have a docstring, with the class that a method is in; not what functions define for themselves."""
    yield tree, None
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, None
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield inner, node


def _documented_methods(tree: ast.Module) -> Iterator[str]:
    for node, owner in _definitions(tree):
        if owner is not None and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            yield node.name


# --- words --------------------------------------------------------------------------------------------------------


def _words(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for line, text in lines:
        for pattern, instead in WORDS.items():
            if re.search(rf"(?<![\w`./])(?:{pattern})(?![\w`/])", text, re.IGNORECASE):
                yield line, f"not '{pattern}' but {instead}: {text.strip()}"


def _prose(source: str) -> list[tuple[int, str]]:
    """The lines of comments and of strings; names in code are not prose."""
    found: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_text = token.type in (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1))
        if is_text and " " in token.string:  # else it is a value, not a sentence
            found += enumerate(token.string.splitlines(), token.start[0])
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return [(0, value) for value in json.loads(text).values() if isinstance(value, str)]
    return list(enumerate(text.splitlines(), 1))


def main() -> int:
    """Print what is found.

    :return: the exit status.
    """
    found = violations(REPOSITORY)
    print("\n".join(found) if found else "names and words: nothing to mend")
    if len(EXCEPTIONS) > MOST_EXCEPTIONS:
        print(f"{len(EXCEPTIONS)} exceptions: at most {MOST_EXCEPTIONS}")
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
