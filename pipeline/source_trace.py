"""Trace the code that a result depends on: what its stage imports, directly or not.

Imports are followed in the source, without running it, also inside functions, but not those for
type checkers. A module counts by its syntax tree without docstrings, so that a comment changes
nothing. Data files (JSON) beside a module that names one count as well, and so do other projects'
packages, by their installed version.

Some packages list things of one kind by name (tasks, cells), of which a stage uses one or two. Of
such a *registry* only the chosen entries count: their lines in its tables, and the modules that
these name.
"""

from __future__ import annotations

import ast
import importlib.metadata
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from pipeline.source_code import Code, code_of, digest_of

# The folder with our packages.
ROOT = Path(__file__).parents[1]
# What is followed. Of the pipeline only what computes: a key holds the recipe's words anyway.
FOLLOWED = ("models", "calibration", "convert", "device_runner")
FOLLOWED_BELOW = ("pipeline.stages",)
# They word messages and check settings: no result depends on them.
WITHOUT_EFFECT = ("click", "pydantic", "rich", "typing_extensions")
ERRORS_MODULE = "errors"
# Functions whose first argument names a module or a distribution.
IMPORTING = ("import_module", "find_spec", "files")
VERSION_OF = ("version", "distribution")


@dataclass(frozen=True)
class Sources:
    """Code that a result depends on.

    Attributes:
        modules: digest of each module, by its dotted name, and of each data file, by its path.
        versions: version of each distribution, None where it is not installed.
    """

    modules: dict[str, str]
    versions: dict[str, str | None]


@dataclass(frozen=True)
class _Imports:
    """What a piece of code imports: our modules, other top-level names, and named distributions."""

    own: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    distributions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Tracer:
    """Follows imports through the packages in a folder.

    Args:
        root: the folder that holds our packages.
    """

    root: Path = ROOT
    _modules: dict[str, _Module | None] = field(default_factory=dict, compare=False)

    def trace(
        self,
        entries: Iterable[str],
        chosen: Mapping[str, Iterable[str]] | None = None,
        distributions: Iterable[str] = (),
    ) -> Sources:
        """Find what the modules ``entries`` depend on.

        Args:
            entries: dotted names of modules.
            chosen: names of the entries in use, by registry package ("models.tasks").
            distributions: further distributions whose versions count.
        """
        registries = {package: tuple(names) for package, names in (chosen or {}).items()}
        digests: dict[str, str] = {}
        tops: set[str] = set()
        named = set(distributions)
        waiting = [*entries]
        for package, names in registries.items():
            waiting += self._need(package).entry_modules(names)
        while waiting:
            name = waiting.pop()
            module = self.module(name)
            if name in digests or module is None:
                continue
            if name in registries:
                digests[name] = module.digest_for(registries[name])
                imports = module.imports_beside_entries(registries[name])
            else:
                digests[name], imports = module.digest, module.imports
                if module.is_list:
                    waiting += module.entry_modules(module.listed)
            digests.update(module.data_files)
            tops |= imports.others
            named |= imports.distributions
            waiting += sorted(imports.own)
        named |= {one for top in tops for one in distributions_of(top)}
        versions = {one: installed_version(one) for one in sorted(named)}
        return Sources(dict(sorted(digests.items())), versions)

    def module(self, name: str) -> _Module | None:
        """Return a module that is to be followed, by its dotted name; else None."""
        if name not in self._modules:
            self._modules[name] = self._find(name)
        return self._modules[name]

    def _need(self, name: str) -> _Module:
        module = self.module(name)
        if module is None:
            raise ModuleNotFoundError(f"no module {name!r} in {self.root}", name=name)
        return module

    def _find(self, name: str) -> _Module | None:
        parts = name.split(".")
        followed = parts[0] in FOLLOWED or name.startswith(
            tuple(f"{one}." for one in FOLLOWED_BELOW)
        )
        if not followed or parts[-1] == ERRORS_MODULE or not all(map(str.isidentifier, parts)):
            return None
        base = self.root.joinpath(*parts)
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                return _Module(name, path, self)
        return None


@dataclass(frozen=True)
class _Module:
    """A module's source and what it imports."""

    name: str
    path: Path
    tracer: Tracer

    @cached_property
    def code(self) -> Code:
        return code_of(self.path.read_text(encoding="utf-8"))

    @property
    def tree(self) -> ast.Module:
        return self.code.tree

    @property
    def digest(self) -> str:
        return self.code.digest

    @cached_property
    def imports(self) -> _Imports:
        return _merged(self._imports_of(node) for node in self.code.nodes)

    @cached_property
    def data_files(self) -> dict[str, str]:
        """Return digests of the JSON files in the module's folder, if it names any."""
        if not any(text.endswith(".json") for text in self.code.texts):
            return {}
        root = self.tracer.root
        return {
            file.relative_to(root).as_posix(): digest_of(file.read_bytes())
            for file in sorted(self.path.parent.glob("*.json"))
        }

    def digest_for(self, names: Iterable[str]) -> str:
        """Return the digest of a registry with only the lines of these entries."""
        return digest_of(ast.dump(self._restricted(names)))

    def imports_beside_entries(self, names: Iterable[str]) -> _Imports:
        """Return what a registry imports, without its own package's modules.

        Those of the chosen entries come through :meth:`entry_modules`. If an entry is in no table,
        all are returned."""
        imports = self.imports
        if not self.listed.issuperset(names):
            return imports
        own = {one for one in imports.own if not one.startswith(f"{self.name}.")}
        return _Imports(frozenset(own), imports.others, imports.distributions)

    def entry_modules(self, names: Iterable[str]) -> list[str]:
        """Return the modules that the lines of these entries name."""
        found = []
        imported = self._imported_names
        for value in self._entries(names):
            for node in ast.walk(value):
                if isinstance(node, ast.Name) and node.id in imported:
                    found.append(imported[node.id])
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    module = self._module_in(node.value)
                    found += [module] if module else []
        return found

    @cached_property
    def _imported_names(self) -> dict[str, str]:
        """Return our modules, by the names that this module's import statements give them."""
        names = {}
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                package = self._package_of(node)
                for item in node.names:
                    found = self._module_of(package, item.name)
                    if found:
                        names[item.asname or item.name] = found
        return names

    def _module_in(self, text: str) -> str | None:
        """Return the module that a text means: "module" or "module.name" within this package, or
        "package.module.name"."""
        first = text.partition(".")[0]
        if first.isidentifier() and self.tracer.module(f"{self.name}.{first}"):
            return f"{self.name}.{first}"
        parts = text.split(".")
        names = (".".join(parts[:count]) for count in range(len(parts), 1, -1))
        return next((name for name in names if self.tracer.module(name)), None)

    def _tables(self) -> Iterator[ast.Dict]:
        """Find the module's top-level dictionaries whose keys are all quoted names."""
        for node in self.tree.body:
            value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
            if isinstance(value, ast.Dict) and all(
                isinstance(key, ast.Constant) and isinstance(key.value, str) for key in value.keys
            ):
                yield value

    def _entries(self, names: Iterable[str]) -> Iterator[ast.expr]:
        wanted = set(names)
        for table in self._tables():
            for key, value in zip(table.keys, table.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in wanted:
                    yield value

    @cached_property
    def listed(self) -> frozenset[str]:
        """Return the names of all entries in the module's tables."""
        keys = (key for table in self._tables() for key in table.keys)
        return frozenset(str(key.value) for key in keys if isinstance(key, ast.Constant))

    @property
    def is_list(self) -> bool:
        """Whether this is a package that lists its own modules and imports them by name."""
        return self.path.name == "__init__.py" and bool(self.listed)

    def _restricted(self, names: Iterable[str]) -> ast.Module:
        """Return the tree with only the chosen entries' lines in the tables.

        The imports of the package's modules are left out."""
        wanted, tables = set(names), list(self._tables())

        def kept(node: ast.stmt) -> bool:
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                return True
            own = self._imports_of(node).own
            return not any(one.startswith(f"{self.name}.") for one in own)

        body: list[ast.stmt] = []
        for node in filter(kept, self.tree.body):
            value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
            if isinstance(value, ast.Dict) and value in tables:
                items = zip(value.keys, value.values, strict=True)
                lines = [
                    ast.Expr(item)
                    for key, item in items
                    if isinstance(key, ast.Constant) and key.value in wanted
                ]
                body += lines
            else:
                body.append(node)
        return ast.Module(body, [])

    def _imports_of(self, node: ast.AST) -> _Imports:
        """Return what one node imports."""
        if isinstance(node, ast.Import):
            return self._named([item.name for item in node.names])
        if isinstance(node, ast.ImportFrom):
            package = self._package_of(node)
            own = {self._module_of(package, item.name) for item in node.names} - {None}
            if own:
                return _Imports(frozenset(one for one in own if one))
            return self._named([package])
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            given = node.args[0].value
            if isinstance(given, str) and name in IMPORTING:
                return self._named([given])
            if isinstance(given, str) and name in VERSION_OF:
                return _Imports(distributions=frozenset({given}))
        if isinstance(node, (ast.List, ast.Tuple)):
            return self._run_by(node.elts)
        return _Imports()

    def _run_by(self, command: Sequence[ast.expr]) -> _Imports:
        """Return our modules that a command runs: [..., "-m", "device_runner", ...]."""
        words = [word.value if isinstance(word, ast.Constant) else None for word in command]
        run = {str(then) for option, then in itertools.pairwise(words) if option == "-m"}
        names = {name for one in run for name in (one, f"{one}.__main__")}
        return _Imports(frozenset(name for name in names if self.tracer.module(name)))

    def _named(self, names: Iterable[str]) -> _Imports:
        own, others = set(), set()
        for name in names:
            if self.tracer.module(name):
                own.add(name)
            elif name.split(".")[0] not in _OWN_OR_STANDARD:
                others.add(name.split(".")[0])
        return _Imports(frozenset(own), frozenset(others))

    def _package_of(self, node: ast.ImportFrom) -> str:
        """Return the absolute name of what an import statement imports from."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts if self.path.name == "__init__.py" else parts[:-1]
        parts = parts[: len(parts) - node.level + 1]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def _module_of(self, package: str, name: str) -> str | None:
        """Return the module that ``from package import name`` needs.

        That is the one of this name, else the package itself; None if neither is ours."""
        for candidate in (f"{package}.{name}", package):
            if self.tracer.module(candidate):
                return candidate
        return None


_OWN_OR_STANDARD = {
    *FOLLOWED,
    *(package.split(".")[0] for package in FOLLOWED_BELOW),
    *sys.stdlib_module_names,
    *WITHOUT_EFFECT,
}


def _merged(parts: Iterable[_Imports]) -> _Imports:
    found = list(parts)
    return _Imports(
        frozenset().union(*(part.own for part in found)),
        frozenset().union(*(part.others for part in found)),
        frozenset().union(*(part.distributions for part in found)),
    )


@cache
def _packages_distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def distributions_of(package: str) -> list[str]:
    """Return the installed distributions of a top-level package; its own name if none has it."""
    return sorted(set(_packages_distributions().get(package, [package])))


@cache
def installed_version(distribution: str) -> str | None:
    """Return an installed distribution's version, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
