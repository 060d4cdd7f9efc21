# SPDX-License-Identifier: Apache-2.0
"""Whether an attribute of a library is what a wrapper may stand for: a plain function or method, and nothing more.

A release may have made something else of it. A function in the place of a class breaks `isinstance`, in the place of a
property the reading of it, in the place of `lru_cache`'s object its `cache_clear`; and a callable that does not bind
itself to instances would suddenly be given one.
"""

from __future__ import annotations

import inspect
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType, WrapperDescriptorType
from typing import Any

# By isinstance, so that what other instrumentations put round a function (wrapt's proxies) is one too.
IN_CLASS: tuple[type, ...] = (FunctionType, MethodDescriptorType, WrapperDescriptorType)
IN_MODULE: tuple[type, ...] = (FunctionType, BuiltinFunctionType, MethodType)
COMPILED = "cython_function_or_method"


def unfit(owner: Any, attribute: str, original: Any, *, asynchronous: bool = False) -> str:
    """Return why `original`, the attribute of a class or module, cannot be wrapped; nothing if it can.

    asynchronous: whether the wrapper knows how to wait.
    """
    function = original.__func__ if isinstance(original, staticmethod | classmethod) else original
    if function is not original and isinstance(function, BuiltinFunctionType):
        return ""
    fit = IN_CLASS if isinstance(owner, type) else IN_MODULE
    if not isinstance(function, fit) and type(function).__name__ != COMPILED:
        kind = "class" if isinstance(function, type) else type(function).__name__
        return f"{attribute} is a {kind} in this release, not a function"
    if asynchronous:
        return ""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"{attribute} is asynchronous in this release"
    return ""
