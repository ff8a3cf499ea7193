"""Hashes of the code that computes: what changes it must raise a `revision`.

Stored results are told apart by the names, fields and revisions of the functions that made them.
So each block function, each decoder of image files, and each object and function that finishes a
reduction or a gathering, is listed in `revisions.json` with its revision and a hash of its code and
of all code of the package that it uses. Comments, docstrings, annotations, messages of errors,
statements that call `tell_if_…` and the places of modules do not count.

`python -m tests.revisions` brings the list up to date, where revisions were raised.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import fibdask

ROOT = Path(fibdask.__file__).parent
LIST = Path(__file__).with_name("revisions.json")
_COMPUTES = ({"needs", "compute", "working_bytes"}, {"inspect", "frames"})
"""Methods of what makes values: block functions, and decoders of image files."""
_COMBINED = ("reduce_blocks", "gather_blocks")
_MACHINERY = ("fibdask.blocks.engine", "fibdask.blocks.mapping")
"""Hands over what functions make, and changes nothing."""


@dataclass(frozen=True)
class Place:
    """A definition at the top of a module: a class, a function, or what is assigned to a name."""

    module: str
    name: str

    @property
    def package(self) -> str:
        """The package of the module, or itself if it lies in none."""
        return ".".join(self.module.split(".")[:2])

    @property
    def label(self) -> str:
        """Its name in fingerprints."""
        return f"{self.package}.{self.name}"


@dataclass
class Module:
    """The definitions and the imports of a module."""

    name: str
    tree: ast.Module
    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, root: Path) -> "Module":
        parts = path.relative_to(root.parent).with_suffix("").parts
        package = parts[:-1]
        name = ".".join(package if parts[-1] == "__init__" else parts)
        module = cls(name, ast.parse(path.read_text()))
        for statement in _statements(module.tree.body):
            for name in _defined(statement):
                module.definitions[name] = statement
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else ()
                origin = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    module.imports[alias.asname or alias.name] = origin, alias.name
        return module


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.Try):
                yield from _statements(getattr(statement, name, []))


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets += [statement.target] if isinstance(statement, ast.AnnAssign) else []
    for target in targets:
        yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


class Code:
    """The definitions of a package, and what they use of each other."""

    def __init__(self, root: Path = ROOT) -> None:
        read = [Module.read(path, root) for path in sorted(root.rglob("*.py"))]
        self.root, self.modules = root, {module.name: module for module in read}
        self._described: dict[Place, tuple[str, set[Place]]] = {}

    def find(self, module: str, name: str) -> Place | str | None:
        """Return the definition, or the module, that a name stands for."""
        if module not in self.modules:
            return None
        known = self.modules[module]
        if name in known.definitions:
            return Place(module, name)
        if name in known.imports:
            origin, original = known.imports[name]
            if f"{origin}.{original}" in self.modules:
                return f"{origin}.{original}"
            return self.find(origin, original)
        return f"{module}.{name}" if f"{module}.{name}" in self.modules else None

    def reference(self, module: str, node: ast.AST) -> Place | str | None:
        """Return the definition, or the module, that `name` or `module.name` stands for."""
        if isinstance(node, ast.Name):
            return self.find(module, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.reference(module, node.value)
            return self.find(owner, node.attr) if isinstance(owner, str) else None
        return None

    def statement(self, place: Place) -> ast.stmt:
        return self.modules[place.module].definitions[place.name]

    def described(self, place: Place) -> tuple[str, set[Place]]:
        """Return the code of a definition, without what does not count, and what it uses."""
        if place not in self._described:
            reader = _Reader(self, place.module)
            text = _text(reader.visit(deepcopy(self.statement(place))))
            self._described[place] = text, reader.used
        return self._described[place]

    def used(self, place: Place) -> set[Place]:
        """Return all definitions that one uses, itself included."""
        found, waiting = set(), {place}
        while waiting:
            one = waiting.pop()
            found.add(one)
            others = {p for p in self.described(one)[1] if not p.module.startswith(_MACHINERY)}
            waiting |= others - found
        return found

    def hash(self, place: Place) -> str:
        """Return a hash of a definition and of all that it uses."""
        parts = sorted((used.name, self.described(used)[0]) for used in self.used(place))
        data = [hashlib.sha256(file.read_bytes()).hexdigest() for file in self._data(parts)]
        return hashlib.sha256(repr((parts, data)).encode()).hexdigest()[:16]

    def _data(self, parts: list[tuple[str, str]]) -> list[Path]:
        """Return the files of numbers that are read."""
        files = sorted(self.root.rglob("*.npz"))
        return [file for file in files if any(f"'{file.name}'" in text for _, text in parts)]

    def lineage(self, place: Place) -> Iterator[ast.ClassDef]:
        """Iterate over a class and its bases in the package."""
        statement = self.statement(place)
        if isinstance(statement, ast.ClassDef):
            yield statement
            for base in statement.bases:
                found = self.reference(place.module, _plain(base))
                if isinstance(found, Place):
                    yield from self.lineage(found)

    def revision(self, place: Place) -> int:
        """Return the revision of a class or function, as it is inherited or decorated with."""
        statement = self.statement(place)
        for decorator in getattr(statement, "decorator_list", []):
            if isinstance(decorator, ast.Call) and _last(decorator.func) == "revised":
                return ast.literal_eval(decorator.args[0])
        for one in self.lineage(place):
            for line in one.body:
                if isinstance(line, ast.Assign | ast.AnnAssign) and "revision" in _defined(line):
                    return ast.literal_eval(line.value)
        return 1

    @cached_property
    def listed(self) -> list[Place]:
        """What makes values, and what finishes reductions and gatherings."""
        places = [Place(m.name, name) for m in self.modules.values() for name in m.definitions]
        values = {place for m in self._combining for place in self._values(m)}
        combining = {Place(module.name, "").package for module in self._combining}
        return [
            p
            for p in places
            if self._computes(p) or (p.package in combining and (p in values or self._is_called(p)))
        ]

    @cached_property
    def _combining(self) -> list[Module]:
        """The modules of packages that reduce or gather, and of the pieces they share."""
        found = {
            Place(module.name, "").package
            for module in self.modules.values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Name | ast.Attribute) and _last(node) in _COMBINED
        }
        kept = found - {"fibdask.blocks"} | {"fibdask.pieces"}
        return [m for m in self.modules.values() if Place(m.name, "").package in kept]

    def _computes(self, place: Place) -> bool:
        if self._is_protocol(place):
            return False
        members = {name for one in self.lineage(place) for name in _members(one)}
        return any(members >= methods for methods in _COMPUTES)

    def _is_called(self, place: Place) -> bool:
        called = any("__call__" in _members(one) for one in self.lineage(place))
        return called and not self._is_protocol(place)

    def _is_protocol(self, place: Place) -> bool:
        return any(_last(base) == "Protocol" for one in self.lineage(place) for base in one.bases)

    def _values(self, module: Module) -> Iterator[Place]:
        """Iterate over functions that are handed over rather than called.

        Not over kernels, nor over what yields, which finishes nothing.
        """
        not_values = set()
        for node in ast.walk(module.tree):
            not_values |= {node.func} if isinstance(node, ast.Call) else set()
            not_values |= set(getattr(node, "decorator_list", []))
        for node in ast.walk(module.tree):
            place = None if node in not_values else self.reference(module.name, node)
            statement = self.statement(place) if isinstance(place, Place) else None
            if isinstance(statement, ast.FunctionDef) and not (
                _is_kernel(statement) or _yields(statement)
            ):
                yield place


class _Reader(ast.NodeTransformer):
    """Takes out what does not count, and notes what of the package is used."""

    def __init__(self, code: Code, module: str) -> None:
        self.code, self.module = code, module
        self.used: set[Place] = set()

    def visit_Name(self, node: ast.Name) -> ast.AST:
        found = self.code.reference(self.module, node)
        if not isinstance(found, Place):
            return node
        self.used.add(found)
        return ast.Name(found.name)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        found = self.code.reference(self.module, node)
        if not isinstance(found, Place):
            return self.generic_visit(node)
        self.used.add(found)
        return ast.Name(found.name)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        counts_not = isinstance(node.value, ast.Constant) or _only_tells(node)
        return None if counts_not else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return None if {"msg", "revision"} & set(_defined(node)) else self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        return None

    visit_ImportFrom = visit_Import

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if "revision" in _defined(node):
            return None
        self._note_annotation(node.annotation)
        kept = [self.visit(part) for part in (node.target, node.value) if part is not None]
        return ast.Expr(ast.Tuple(kept))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        self._note_annotation(node.annotation)
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._note_annotation(node.returns)
        node.returns = None
        node.decorator_list = [d for d in node.decorator_list if "revised" not in ast.dump(d)]
        return self.generic_visit(node)

    def _note_annotation(self, node: ast.expr | None) -> None:
        """Note the classes whose methods may be called."""
        for part in ast.walk(node) if node else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                self._note_annotation(ast.parse(part.value, mode="eval").body)
            self.visit(part) if isinstance(part, ast.Name | ast.Attribute) else None


def _text(node: ast.AST) -> str:
    """Return a tree as text that is the same in all versions of Python."""
    if isinstance(node, list):
        return "[" + ",".join(map(_text, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = [
        f"{name}={_text(value)}"
        for name, value in ast.iter_fields(node)
        if value not in (None, []) and name not in ("ctx", "kind", "type_comment", "type_params")
    ]
    return f"{type(node).__name__}({','.join(parts)})"


def _plain(base: ast.expr) -> ast.expr:
    return base.value if isinstance(base, ast.Subscript) else base


def _last(node: ast.expr) -> str:
    node = _plain(node)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _only_tells(statement: ast.Expr) -> bool:
    """Tell whether a statement does nothing but warn, by the name of what it calls."""
    called = _last(statement.value.func) if isinstance(statement.value, ast.Call) else ""
    return called.lstrip("_").startswith("tell_if_")


def _yields(statement: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(statement))


def _is_kernel(function: ast.FunctionDef) -> bool:
    return any("revised" not in ast.dump(one) for one in function.decorator_list)


def _members(one: ast.ClassDef) -> set[str]:
    return {name for line in one.body for name in _defined(line)}


def current(code: Code) -> dict[str, dict[str, int | str]]:
    """Return revision and hash of all that is listed, by name."""
    return {
        place.label: {"revision": code.revision(place), "code": code.hash(place)}
        for place in sorted(code.listed, key=lambda place: place.label)
    }


def to_raise(known: dict, now: dict) -> list[str]:
    """Return sentences on the functions whose code has changed, and whose revision has not."""
    return [
        f"{name} computes by other code than before: set its revision to {before['revision'] + 1}, "
        "so that what it stored is made anew, and run python -m tests.revisions"
        for name, before in known.items()
        if name in now
        and now[name]["code"] != before["code"]
        and now[name]["revision"] <= before["revision"]
    ]


def main() -> None:
    """Bring the list up to date, unless a revision must be raised first."""
    known = json.loads(LIST.read_text()) if LIST.exists() else {}
    now = current(Code())
    if missing := to_raise(known, now):
        sys.exit("\n".join(missing))
    LIST.write_text(json.dumps(now, indent=1) + "\n")
    print(f"{LIST.name}: {len(now)} functions")


if __name__ == "__main__":
    main()
