# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own database of optimizers (torch.testing._internal.common_optimizers), run on hone's classes.

A case is one configuration of the database, with one of the flags it lists (foreach, fused,
differentiable, or none), one dtype, with or without hooks and named parameters. hone's class and PyTorch's
for-loop start alike and get the same gradients: some missing, one parameter frozen for some steps, one
without elements, one not contiguous. After every step the parameters and states are compared.

    python tests/python/conformance.py docs/python-conformance.md    # writes the table
"""

import collections
import copy
import os
import sys

os.environ.setdefault("PYTORCH_TEST_WITH_SLOW", "0")

import torch
from torch.testing._internal.common_optimizers import (
    _get_optim_inputs_including_global_cliquey_kwargs as all_inputs,
)
from torch.testing._internal.common_optimizers import OptimizerInput, optim_db

from hone import optim

NAMES = ("SGD", "Adam", "AdamW", "RMSprop", "Muon", "SparseAdam")
INFOS = {info.optim_cls.__name__: info for info in optim_db if info.optim_cls.__name__ in NAMES}
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
COMPLEX = (torch.complex64, torch.complex128)
STEPS = 7

# Absolute and relative. In 16 bits hone computes in float32 and rounds each stored value once, as PyTorch's
# fused kernels do; PyTorch's loop rounds after every operation. So there the loop runs in float32 and its
# values are rounded after each step, and one unit in the last place is allowed, of small values one that
# larger ones may have left there in steps before.
TOLERANCES = {
    torch.float64: (1e-12, 1e-10),
    torch.complex128: (1e-12, 1e-10),
    torch.float32: (1e-5, 1.3e-6),
    torch.complex64: (1e-5, 1.3e-6),
    torch.bfloat16: (2**-10, 2**-7),
    torch.float16: (2**-13, 2**-10),
}
# differentiable=True runs PyTorch's operations, which round as the loop does.
LOOP_TOLERANCES = {**TOLERANCES, torch.bfloat16: (1.6e-2, 1.6e-2), torch.float16: (5e-3, 5e-3)}


def rounds_once(case):
    return case.dtype in (torch.bfloat16, torch.float16) and not case.kwargs.get("differentiable")

Case = collections.namedtuple("Case", "name desc kwargs dtype hooks")


def inputs(info):
    """What the database has for the processor, and `foreach`, which it runs on accelerators only."""
    given = all_inputs("cpu", torch.float32, info)
    if "foreach" in info.supported_impls:
        for base in info.optim_inputs_func("cpu"):
            kwargs = {**copy.deepcopy(base.kwargs), "foreach": True}
            given.append(OptimizerInput(None, kwargs, f"{base.desc} & foreach"))
    return given


def cases():
    """Every case, in a fixed order."""
    for name, info in INFOS.items():
        dtypes = FLOATS + (COMPLEX if info.supports_complex else ())
        for given in inputs(info):
            for dtype in dtypes:
                for hooks in (False, True):
                    yield Case(name, given.desc or "default", given.kwargs, dtype, hooks)


def case_id(case):
    flag = next((f for f in ("foreach", "fused", "differentiable") if case.kwargs.get(f)), "")
    desc = case.desc.replace(" ", "_")
    hooks = "hooks" if case.hooks else "plain"
    return f"{case.name}-{desc}-{flag}-{str(case.dtype).removeprefix('torch.')}-{hooks}"


def shapes_of(name):
    return [(16, 24), (32, 16), (20, 20)] if name == "Muon" else [(4, 6), (7,), (), (3, 0, 2), (2, 3, 4)]


def make_parameters(name, dtype):
    """The second is a transposed view of its memory."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for i, shape in enumerate(shapes_of(name)):
        value = torch.randn(shape, generator=generator, dtype=torch.float64)
        if dtype.is_complex:
            value = torch.complex(value, torch.randn(shape, generator=generator, dtype=torch.float64))
        value = value.to(dtype)
        if i == len(shapes_of(name)) - 1:
            value = value.transpose(0, -1).contiguous().transpose(0, -1)
        made.append(torch.nn.Parameter(value))
    return made


def make_grad(case, parameter, step, index, generator):
    """None at step 2 and for a frozen parameter; sparse where the optimizer wants that."""
    if step == 2 or (index == 0 and 3 <= step <= 5):
        return None
    shape = parameter.shape
    value = torch.randn(shape, generator=generator, dtype=torch.float64)
    if case.dtype.is_complex:
        value = torch.complex(value, torch.randn(shape, generator=generator, dtype=torch.float64))
    value = value.to(case.dtype)
    if case.name != "SparseAdam":
        return value
    rows = torch.randint(0, shape[0], (3,), generator=generator) if shape else None
    if not shape or 0 in shape:
        return value.to_sparse()
    return torch.sparse_coo_tensor(rows[None], value[rows], shape)  # rows may repeat


def reference_kwargs(case):
    """PyTorch's for-loop is the definition."""
    kwargs = copy.deepcopy(case.kwargs)
    for flag in ("foreach", "fused", "differentiable"):
        if flag in kwargs:
            kwargs[flag] = False
    return kwargs


def with_eps(case, kwargs):
    """As PyTorch's tests do: 1e-8 is 0 in float16, and 0 / 0 tells nothing."""
    if case.dtype is torch.float16 and case.name in ("Adam", "AdamW", "SparseAdam", "RMSprop"):
        kwargs["eps"] = 0.1
    return kwargs


class Counter:
    """Hooks that count their calls, and one that changes what is loaded."""

    def __init__(self, optimizer):
        self.calls = collections.Counter()
        for kind in ("step_pre", "step_post", "state_dict_pre", "state_dict_post"):
            register = getattr(optimizer, f"register_{kind}_hook")
            register(lambda *_, kind=kind: self.calls.update([kind]) or None)

    def check(self):
        assert self.calls["step_pre"] == self.calls["step_post"] == STEPS
        assert self.calls["state_dict_pre"] == self.calls["state_dict_post"] == 1


def widened(parameters):
    """16-bit parameters as float32, for a loop that rounds once."""
    wide = []
    for p in parameters:
        value = torch.empty_like(p, dtype=torch.float32).copy_(p.detach())
        wide.append(torch.nn.Parameter(value))
    return wide


@torch.no_grad()
def round_once(case, parameters, optimizer):
    if not rounds_once(case):
        return
    for parameter in parameters:
        tensors = [parameter, *(v for k, v in optimizer.state.get(parameter, {}).items() if k != "step")]
        for tensor in tensors:
            tensor.copy_(tensor.to(case.dtype))


def compare_muon(case, mine, theirs, kept):
    """PyTorch rounds every product to bfloat16: 3e-2 of the update's norm."""
    for p, q, before in zip(mine, theirs, kept):
        update, distance = (q - before).double().norm(), (p.double() - q.double()).norm()
        rounding = TOLERANCES[case.dtype][1] * before.double().norm() if p.dtype != q.dtype else 0
        assert distance <= 3e-2 * update + rounding, (distance / update).item()


def compare(case, mine, theirs, ours, reference, kept):
    tolerances = LOOP_TOLERANCES if case.kwargs.get("differentiable") else TOLERANCES
    atol, rtol = tolerances[case.dtype]
    if isinstance(case.kwargs.get("lr"), torch.Tensor):  # PyTorch then computes rates in float32
        rtol = max(rtol, 1e-7)
    if case.name == "Muon":
        compare_muon(case, mine, theirs, kept)
        with torch.no_grad():
            for p, q in zip(mine, theirs):
                p.copy_(q)
    else:
        for p, q in zip(mine, theirs):
            torch.testing.assert_close(p, q.to(p.dtype), atol=atol, rtol=rtol)
    for p, q in zip(mine, theirs):
        state, expected = dict(ours.state.get(p, {})), dict(reference.state.get(q, {}))
        assert list(state) == list(expected)
        for key, value in expected.items():
            if isinstance(value, torch.Tensor):
                value = value if key == "step" else value.to(p.dtype)
                assert state[key].dtype == value.dtype and state[key].shape == value.shape
            torch.testing.assert_close(state[key], value, atol=atol, rtol=rtol)


def run_refused(case):
    """PyTorch's fused step takes no complex parameters; both classes say so alike."""
    texts = []
    for module in (torch.optim, optim):
        parameters = make_parameters(case.name, case.dtype)
        optimizer = getattr(module, case.name)(parameters, **copy.deepcopy(case.kwargs))
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        before = [parameter.detach().clone() for parameter in parameters]
        try:
            optimizer.step()
        except RuntimeError as error:
            texts.append(str(error))
        torch.testing.assert_close(parameters, before, atol=0, rtol=0)
    assert len(texts) == 2 and texts[0] == texts[1]


def run(case):
    """Runs a case; AssertionError or another exception if it does not hold."""
    if case.kwargs.get("fused") and case.dtype.is_complex:
        run_refused(case)
        return
    mine, theirs = make_parameters(case.name, case.dtype), make_parameters(case.name, case.dtype)
    if rounds_once(case):
        theirs = widened(theirs)
    kwargs = with_eps(case, copy.deepcopy(case.kwargs))
    given = [(f"p{i}", p) for i, p in enumerate(mine)] if case.hooks else mine
    ours = getattr(optim, case.name)(given, **kwargs)
    reference = getattr(torch.optim, case.name)(theirs, **with_eps(case, reference_kwargs(case)))
    counter = Counter(ours) if case.hooks else None
    generator = torch.Generator().manual_seed(4)
    for step in range(STEPS):
        kept = [q.detach().clone() for q in theirs]
        for index, (p, q) in enumerate(zip(mine, theirs)):
            p.grad = make_grad(case, p, step, index, generator)
            q.grad = None if p.grad is None else p.grad.clone().to(q.dtype)
        held = [(p.grad, p.grad.clone(), p.grad._version) for p in mine if p.grad is not None]
        if case.kwargs.get("differentiable"):
            step_differentiable(ours, mine)
        else:
            ours.step()
        reference.step()
        round_once(case, theirs, reference)
        for grad, copy_of_it, version in held:  # never written
            assert grad._version == version
            assert torch.equal(grad.to_dense(), copy_of_it.to_dense())
        compare(case, mine, theirs, ours, reference, kept)
    if counter is not None:
        saved = ours.state_dict()
        assert saved["param_groups"][0]["param_names"] == [f"p{i}" for i in range(len(mine))]
        counter.check()


def step_differentiable(optimizer, parameters):
    """A differentiable step writes non-leaf tensors; here leaves stand in for them, so recording is
    switched off around it."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    optimizer.step()


def error_inputs(name):
    return INFOS[name].optim_error_inputs_func(device="cpu", dtype=torch.float32)


# ---- the table ------------------------------------------------------------------------------------

_HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by tests/python/conformance.py; tests/python/test_conformance.py runs the same cases. -->
# Conformance with torch.optim

PyTorch's own database of optimizers (`torch.testing._internal.common_optimizers`, PyTorch {version}) run on
hone's classes and held against PyTorch's for-loop, parameters and states after each of {steps} steps. Each
cell counts passed of all runs: every dtype with and without hooks and named parameters.

| optimizer | configuration | flag | {dtypes} |
|---|---|---|{rules}|
"""

_TAIL = """
Tolerances (absolute, relative): float64 1e-12, 1e-10 (1e-7 where the
learning rate is a float32 tensor, with which PyTorch computes in float32); float32 1e-5, 1.3e-6; bfloat16 and float16 one unit in
the last place (at least 2^-10 and 2^-13) of PyTorch's loop run in float32 with its values rounded after each step (run in 16 bits it
rounds after every operation; hone, like PyTorch's fused kernels, rounds what it stores, once). Muon: 3e-2 of the update's norm, since
PyTorch rounds each of its products to bfloat16; the momentum buffer as above. `-`: PyTorch's class does not
take that dtype either; complex numbers with `fused` are refused, with PyTorch's error. float16 runs of the Adams and RMSprop use eps 0.1, as PyTorch's own tests of Adam do.
Configurations with `capturable=True` are in the database for accelerators only; on the processor both
classes refuse them alike (test_conformance.py).

## Error inputs

Of each, type and text of the exception are PyTorch's.

| optimizer | what is wrong | type |
|---|---|---|
"""


def write_table(path):
    """Runs everything and writes the page; the number of failures."""
    failures, table = 0, collections.defaultdict(dict)
    for case in cases():
        flag = next((f for f in ("foreach", "fused", "differentiable") if case.kwargs.get(f)), "none")
        row = (case.name, case.desc.split(" & ")[0], flag)
        passed, total = table[row].get(case.dtype, (0, 0))
        try:
            run(case)
            passed += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the case has not passed
            failures += 1
            print(f"{case_id(case)}: {type(error).__name__}: {error}", file=sys.stderr)
        table[row][case.dtype] = (passed, total + 1)
    dtypes = FLOATS + COMPLEX
    names = " | ".join(str(d).removeprefix("torch.") for d in dtypes)
    with open(path, "w") as page:
        page.write(_HEAD.format(version=torch.__version__.split("+")[0], steps=STEPS, dtypes=names,
                                rules="---|" * (len(dtypes) - 1) + "---"))
        for (name, desc, flag), cells in table.items():
            counts = ("%d/%d" % cells[d] if d in cells else "-" for d in dtypes)
            page.write(f"| {name} | {desc} | {flag} | {' | '.join(counts)} |\n")
        page.write(_TAIL)
        for name in INFOS:
            for given in error_inputs(name):
                desc = given.optimizer_error_input.desc
                page.write(f"| {name} | {desc} | {given.error_type.__name__} |\n")
    return failures


if __name__ == "__main__":
    sys.exit(write_table(sys.argv[1]) != 0)
