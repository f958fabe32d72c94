"""Reduce a module's source to its syntax tree, without the words for people."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from functools import lru_cache

DIGEST_LENGTH = 12


@dataclass(frozen=True)
class Code:
    """A module's source without docstrings and without what only type checkers read.

    Attributes:
        nodes: the nodes that may name a module.
        texts: all strings in quotes.
    """

    tree: ast.Module
    digest: str
    nodes: tuple[ast.AST, ...]
    texts: tuple[str, ...]


@lru_cache(maxsize=1000)
def code_of(source: str) -> Code:
    """Parse the code in a module's text."""
    tree = ast.parse(source)
    _Bare().visit(tree)
    telling = (ast.Import, ast.ImportFrom, ast.Call, ast.List, ast.Tuple)
    everything = tuple(ast.walk(tree))
    nodes = tuple(node for node in everything if isinstance(node, telling))
    texts = tuple(
        node.value
        for node in everything
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return Code(tree, digest_of(ast.dump(tree)), nodes, texts)


def digest_of(content: str | bytes) -> str:
    """Return a short hash of a text or of a file's bytes."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()[:DIGEST_LENGTH]


class _Bare(ast.NodeTransformer):
    """Removes docstrings and the blocks that only type checkers read."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(one) for one in node.orelse]
        return self.generic_visit(node)
