"""The house polices itself: names, sizes, the wheel, the samples, and that what is documented exists."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from importlib import import_module, metadata, util
from pathlib import Path

import click
import pytest

from integrations import discovery
from webhooks.settings_variables import variables

ROOT = Path(__file__).parents[1]
PACKAGES = ("integrations", "webhooks")


def sources(*folders: str) -> list[Path]:
    """Every Python file of these folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    """The path as a failure should show it."""
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(), str(path))


CODE = [pytest.param(path, id=named(path)) for path in sources(*PACKAGES)]
ALL = [pytest.param(path, id=named(path)) for path in sources(*PACKAGES, "tests", "benchmarks")]

# --- words -----------------------------------------------------------------------------------------------

FOREIGN_WORDS = {"handler", "manager", "service", "helper", "util", "processor", "platform"}


def words(name: str) -> set[str]:
    """``sendHTTPHandlers`` and ``send_http_handlers`` are made of send, http and handler."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {part.lower().removesuffix("s") for part in parts}


def names(module: ast.Module) -> Iterator[str]:
    """Everything that the file gives a name to: what it takes from elsewhere is not its fault."""
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.alias(asname=str(name)):
                yield name


@pytest.mark.parametrize("path", ALL)
def test_names_are_words_of_the_house(path: Path) -> None:
    """A name says what a thing is about, not that it handles, manages or helps."""
    foreign = {name for name in [path.stem, *names(tree(path))] if words(name) & FOREIGN_WORDS}
    assert not foreign


@pytest.mark.parametrize(
    "name", ["EventHandler", "send_utils", "HTTPService", "platformName", "order_managers", "processor"]
)
def test_a_foreign_word_is_found_in_any_spelling(name: str) -> None:
    """Otherwise the test above proves nothing."""
    assert words(name) & FOREIGN_WORDS


# --- sizes -----------------------------------------------------------------------------------------------

MAX_LINES, MAX_TEST_LINES, MAX_FUNCTION_LINES = 400, 600, 40

LONG: dict[str, str] = {}
"""Files that may be longer than others, each with its reason."""


@pytest.mark.parametrize("path", ALL)
def test_a_file_is_one_room(path: Path) -> None:
    """Past the limit it is asking to be two."""
    limit = MAX_TEST_LINES if path.is_relative_to(ROOT / "tests") else MAX_LINES
    assert named(path) in LONG or len(path.read_text().splitlines()) <= limit


def test_no_excuse_is_out_of_date() -> None:
    """An exception that nothing needs any more goes."""
    assert [name for name in LONG if len((ROOT / name).read_text().splitlines()) <= MAX_LINES] == []


@pytest.mark.parametrize("path", [param for param in CODE if "migrations" not in str(param.id)])
def test_a_function_fits_on_a_screen(path: Path) -> None:
    """Five to fifteen lines are the rule."""
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]
    long = [f.name for f in functions if f.end_lineno and f.end_lineno - f.lineno >= MAX_FUNCTION_LINES]
    assert not long


# --- logs ------------------------------------------------------------------------------------------------

TOLD = {"debug", "info", "warning", "error"}


def sentences(module: ast.Module) -> Iterator[ast.expr]:
    """The first argument of ``log.info(...)``, the second of ``reporting.alert(...)``, and of an alert in
    the ledger its sentence and its remedy."""
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=attr), args=[first, *_]):
                if attr in TOLD:
                    yield first
            case ast.Call(func=ast.Attribute(value=ast.Name(id="reporting"), attr="alert"), args=[_, text]):
                yield text
            case ast.Call(func=ast.Attribute(attr="raise_"), args=[_, _, *told]):
                yield from told


@pytest.mark.parametrize("path", CODE)
def test_a_log_line_is_a_constant_sentence(path: Path) -> None:
    """What varies is a fact; a sentence that is put together may carry a buyer's name."""
    put_together = (ast.JoinedStr, ast.BinOp, ast.Call)
    built = [text.lineno for text in sentences(tree(path)) if isinstance(text, put_together)]
    assert not built


@pytest.mark.parametrize("path", CODE)
def test_logs_go_through_reporting(path: Path) -> None:
    """The standard loggers take any text."""
    if path.name == "reporting.py":
        return
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    written = [ast.unparse(call) for call in calls if isinstance(call, ast.Attribute)]
    assert not {f"logging.{level}" for level in (*TOLD, "critical", "exception")} & set(written)
    assert "logging.getLogger(__name__)" not in ast.unparse(tree(path))


# --- adapters --------------------------------------------------------------------------------------------


def constants(module: ast.Module) -> Iterator[str]:
    """The texts of a file, without docstrings."""
    prose = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


@pytest.mark.parametrize("path", [param for param in CODE if str(param.id).startswith("webhooks/")])
def test_nobody_but_an_adapter_knows_its_name(path: Path) -> None:
    """A list of adapters kept by hand is a tax on the next one. The sandbox plays their other side."""
    if path.is_relative_to(ROOT / "webhooks/sandbox"):
        return
    slugs = "|".join(discovery.stores().keys() | discovery.destinations().keys())
    name = re.compile(rf"({slugs})|({slugs.upper()})_[A-Z_]+|(.*/)?({slugs})/.*")
    assert [text for text in constants(tree(path)) if name.fullmatch(text)] == []


def test_every_setting_is_explained() -> None:
    """One line that a shop's developer understands."""
    unexplained = [one.name for one in variables() if len(one.help) < 10 or "\n" in one.help]
    assert not unexplained


def test_every_sample_has_an_expectation() -> None:
    """A sample that nothing is expected of tests nothing."""
    bodies = [
        path
        for path in (ROOT / "tests/data/stores").rglob("*.json")
        if path.name != "signatures.json" and not path.name.endswith(".expect.json")
    ]
    assert bodies
    assert [named(path) for path in bodies if not path.with_suffix(".expect.json").exists()] == []


@pytest.mark.parametrize("slug", sorted(discovery.stores()))
def test_every_store_has_samples(slug: str) -> None:
    """And cases of its signature."""
    folder = ROOT / "tests/data/stores" / slug
    assert len(list(folder.rglob("*.expect.json"))) >= 10
    assert (folder / "signatures.json").exists()


# --- the wheel -------------------------------------------------------------------------------------------


def project() -> dict[str, object]:
    """What pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_wheel_holds_exactly_our_two_packages() -> None:
    """Neither tests nor a third top-level name."""
    text = (ROOT / "pyproject.toml").read_text()
    wheel = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": list(PACKAGES)}


def test_no_other_distribution_owns_our_names() -> None:
    """Both are generic words; an installed namesake would shadow us or be shadowed."""
    owners = metadata.packages_distributions()
    assert "flask" in owners
    for package in PACKAGES:
        assert set(owners.get(package, [])) <= {"purchase-relay"}
        spec = util.find_spec(package)
        assert spec is not None
        assert spec.origin == str(ROOT / package / "__init__.py")


# --- documents -------------------------------------------------------------------------------------------


def documents() -> list[Path]:
    """Everything that tells a person or a host what to run."""
    patterns = ("*.md", "docs/**/*.md", ".github/**/*.md", "integrations/*.md", "Procfile", "app.json")
    more = ("render.yaml", "Dockerfile", ".github/**/*.yml", ".ci/*", ".pre-commit-config.yaml")
    return sorted({path for pattern in patterns + more for path in ROOT.glob(pattern) if path.is_file()})


def mentioned(command: str) -> Iterable[tuple[str, list[str]]]:
    """Each place where the command is named in code, with the words that follow it."""
    for path in documents():
        for line in path.read_text().splitlines():
            for found in re.finditer(rf"(?<![\w/.-]){command}((?: [a-z][a-z-]*)+)", line):
                yield f"{named(path)}: {found.group()}", found.group(1).split()


def test_documented_verbs_of_dev_exist() -> None:
    """`./dev help` is the list."""
    page = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    verbs = set(re.findall(r"^\./dev (\w+)", page, re.MULTILINE))
    assert {"demo", "up", "test", "check"} <= verbs
    assert [place for place, (verb, *_) in mentioned(r"\./dev") if verb not in verbs] == []


def test_documented_commands_exist() -> None:
    """Checked against the real command's tree."""
    cli = pytest.importorskip("webhooks.cli", reason="the command line is not there yet")
    missing = [
        place
        for command in ("purchase-relay", "python -m webhooks")
        for place, following in mentioned(command)
        if not leads_somewhere(cli.main, following)
    ]
    assert not missing


def leads_somewhere(command: click.Command, following: list[str]) -> bool:
    """Whether the words, as far as groups go, are names of sub-commands."""
    for word in following:
        if not isinstance(command, click.Group):
            return True
        if word not in command.commands:
            return False
        command = command.commands[word]
    return True


HEADINGS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_changelog_keeps_its_order() -> None:
    """Keep a Changelog: Unreleased first, then versions going down; kinds of change in a fixed order."""
    releases = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert releases[0].startswith("[Unreleased]")
    numbers = [
        re.match(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d$", one, re.MULTILINE) for one in releases[1:]
    ]
    assert all(numbers)
    versions = [tuple(int(part) for part in number.groups()) for number in numbers if number]
    assert versions == sorted(versions, reverse=True)
    for release in releases:
        found = re.findall(r"^### (.+)$", release, re.MULTILINE)
        assert found == sorted(found, key=HEADINGS.index)


def test_decisions_are_newest_first() -> None:
    """Each with its date."""
    dates = re.findall(r"^## (\d{4}-\d\d-\d\d) ", (ROOT / ".github/decisions.md").read_text(), re.MULTILINE)
    assert dates
    assert dates == sorted(dates, reverse=True)


def test_every_module_can_be_imported() -> None:
    """Also those that only a command needs."""
    for path in sources(*PACKAGES):
        if "versions" not in path.parts and path.stem not in {"env", "__main__"}:
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))


@pytest.mark.parametrize("name", ["app.json", "render.yaml", "Dockerfile"])
def test_a_host_sets_variables_that_exist(name: str) -> None:
    """A misspelled one would be silently without effect."""
    known = {variable.name for variable in variables()}
    found = set(re.findall(r"\b(?:RELAY|DATABASE|REDIS|SENTRY)_[A-Z_]+\b", (ROOT / name).read_text()))
    assert found
    assert found <= known
