"""The notebook's model classes, extracted from scripts/notebook.py without running its cells."""

import ast
from pathlib import Path

from torch import nn

notebook = Path(__file__).with_name("notebook.py")
classes = [node for node in ast.parse(notebook.read_text()).body if isinstance(node, ast.ClassDef)]
exec(compile(ast.Module(classes, []), notebook, "exec"))
