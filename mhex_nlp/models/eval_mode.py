# SPDX-License-Identifier: Apache-2.0
"""Runs a model in eval mode without switching it, since other threads may train it or predict with it meanwhile.

A model that is in eval mode runs as it is. Any other runs through a view that is made for the pass: new modules in eval
mode around the model's own tensors, like the replicas of torch's DataParallel. As nothing of the model is changed,
nothing has to be put back, whenever an exception or an interrupt comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from .families import SITES
from .hooks import HOOK_TABLES

_STANDARD = frozenset(nn.Module().__dict__)  # attributes that every module has
_LEADING = (nn.Module, MethodType, FunctionType, partial, list, tuple, dict)  # what may hold a module
_GROWING = ("dynamic", "longrope")  # rotary embeddings that write what a text's length asks for into themselves


def run_in_eval_mode(model: Any, inputs: Mapping[str, Any], **children: nn.Module | None) -> Any:
    """What `model(**inputs)` gives in eval mode, whatever other threads do with its modes meanwhile.

    Args:
        model: a transformers model, plain or with heads.
        inputs: of its forward.
        children: modules that it must have under these names in this pass, also where another thread replaces them.

    Raises:
        ValueError: as `eval_view`.
    """
    since = _last_trained(model)

    def steady() -> bool:
        """Whether the modules are, and were all the time, as this pass needs them."""
        as_named = all(getattr(model, name, None) is child for name, child in children.items())
        return as_named and _last_trained(model) == since and _wholly_eval(model)

    if not _changes_itself(model) and steady():
        try:
            output = model(**inputs)
        except Exception:
            if steady():
                raise
        else:
            if steady():
                return output
    view = eval_view(model)
    for name, child in children.items():
        setattr(view, name, child)
    return view(**inputs)


def eval_view(model: Any) -> Any:
    """The model once more, wholly in eval mode: modules of its own that share each tensor of the model's.

    Whoever puts hooks on the view, or gives its modules other attributes, does so in the view alone. Hooks that are on
    the model run in the view as well and are given its modules; those of the heads lead to the model's own heads, which
    do the same in either mode. A model compiled in place (`model.compile()`) runs uncompiled here.

    Raises:
        ValueError: a module in training mode that leads back to itself: scripted, or with a forward that was replaced
            on the instance by a function.
    """
    modules, views = [model], {}
    for module in modules:  # which grows meanwhile
        if id(module) in views:
            continue
        if isinstance(module, torch.jit.ScriptModule):
            views[id(module)] = _as_it_is(module)
            continue
        view = views[id(module)] = _view(module)
        modules += [child for child in view._modules.values() if child is not None]
    for module in modules:
        if (view := views[id(module)]) is not module:
            _lead(view, views)
            if "forward" in view.__dict__ and view.__dict__["forward"] is module.__dict__.get("forward"):
                _as_it_is(module)
    return views[id(model)]


def _view(module: nn.Module) -> nn.Module:
    """One module once more, as it is now; its children, which other threads may change, are still the model's."""
    view: nn.Module = object.__new__(type(module))
    attributes = view.__dict__
    attributes.update(module.__dict__)
    for name in HOOK_TABLES:
        attributes[name] = attributes[name].copy()
    attributes["_buffers"] = dict(attributes["_buffers"])
    if _grows(attributes.get("rope_type")):
        attributes["_buffers"] = {k: b if b is None else b.clone() for k, b in attributes["_buffers"].items()}
    attributes["_modules"] = dict(attributes["_modules"])
    attributes["_compiled_call_impl"] = None
    attributes["training"] = False
    return view


def _lead(view: nn.Module, views: Mapping[int, nn.Module]) -> None:
    """Lets all that a view holds lead to other views, where it still leads to the modules of the model."""
    attributes = view.__dict__
    attributes["_modules"] = {name: views.get(id(child), child) for name, child in attributes["_modules"].items()}
    for name in attributes.keys() - _STANDARD:
        if isinstance(value := attributes[name], _LEADING):
            attributes[name] = _led(value, views)


def _led(value: Any, views: Mapping[int, nn.Module]) -> Any:
    """An attribute with views in the place of modules: a module, a method of one, a partial, a collection of these."""
    if isinstance(value, nn.Module):
        return views.get(id(value), value)
    if isinstance(value, MethodType):
        owner = _led(value.__self__, views)
        return value if owner is value.__self__ else MethodType(value.__func__, owner)
    if isinstance(value, partial):
        led = partial(_led(value.func, views), *_led(value.args, views), **_led(value.keywords, views))
        return value if (led.func, led.args, led.keywords) == (value.func, value.args, value.keywords) else led
    if type(value) in (list, tuple) and any(isinstance(item, nn.Module) for item in value):
        return type(value)(_led(item, views) for item in value)
    if type(value) is dict and any(isinstance(item, nn.Module) for item in value.values()):
        return {key: _led(item, views) for key, item in value.items()}
    compiled = getattr(value, "_torchdynamo_orig_callable", None)  # what torch.compile was given
    return value if compiled is None else _led(compiled, views)


def _as_it_is(module: nn.Module) -> nn.Module:
    if not _wholly_eval(module):
        raise ValueError(
            f"model must be in eval mode to be explained, call model.eval() first: its {type(module).__name__} is "
            "scripted, or has a forward of its own, so that it cannot be run in eval mode without being switched."
        )
    return module


def _wholly_eval(model: nn.Module) -> bool:
    """Whether every module is in eval mode; `model.modules()` would take longer, and fail where a thread adds one."""
    modules: list[nn.Module | None] = [model]
    for module in modules:  # which grows meanwhile
        if module is not None:
            if module.training:
                return False
            modules += module._modules.values()
    return True


def _last_trained(model: Any) -> Any:
    """New after each `model.train()` of a model with heads: what is in eval mode may have left it in between."""
    return getattr(model, "last_trained", None)


def _changes_itself(model: Any) -> bool:
    """Whether a forward pass writes attributes or buffers, so that passes of several threads would meet in them."""
    site = SITES.get(model.config.model_type)
    return (site is not None and site.sticky is not None) or _grows(getattr(model.config, "rope_parameters", None))


def _grows(rope: Any) -> bool:
    return rope is not None and any(kind in str(rope) for kind in _GROWING)
