"""A program of this tree that is no module by its name, to be tested as one."""

import importlib.machinery
import importlib.util
import os

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


def load(path):
    loader = importlib.machinery.SourceFileLoader(
        os.path.basename(path), os.path.join(TOP, path))
    tool = importlib.util.module_from_spec(
        importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(tool)
    return tool
