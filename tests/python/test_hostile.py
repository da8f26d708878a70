# SPDX-License-Identifier: Apache-2.0
"""What can happen to tensors between steps, and what should never be handed in: PyTorch's behaviour where
it has one, a clear error otherwise, and never a crash or a silently wrong step."""

import copy
import gc
import os
import subprocess
import sys
import threading

import pytest
import torch

import hone
from hone import _core, optim

PAIRS = ("SGD", "Adam", "AdamW", "RMSprop")


class Twins:
    """hone's and PyTorch's optimizer over equal parameters, to which the same things happen."""

    def __init__(self, name="AdamW", shapes=((4, 3), (5,)), dtype=torch.float32, **options):
        self.ours = [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in shapes]
        self.theirs = [torch.nn.Parameter(p.detach().clone()) for p in self.ours]
        options = {"lr": 0.01, **options}
        self.mine = getattr(optim, name)(self.ours, **options)
        self.reference = getattr(torch.optim, name)(self.theirs, **options)
        self.tolerance = {"atol": 1e-6, "rtol": 1e-5}

    def both(self, change):
        """Does the same to either side: change(optimizer, parameters)."""
        change(self.mine, self.ours)
        change(self.reference, self.theirs)

    def step(self, times=1):
        for _ in range(times):
            for p, q in zip(self.ours, self.theirs):
                p.grad = torch.randn(p.shape).to(p.dtype)
                q.grad = p.grad.clone()
            self.mine.step()
            self.reference.step()
        self.check()

    def check(self):
        torch.testing.assert_close(self.ours, self.theirs, **self.tolerance)
        for p, q in zip(self.ours, self.theirs):
            mine, theirs = self.mine.state.get(p, {}), self.reference.state.get(q, {})
            torch.testing.assert_close(dict(mine), dict(theirs), **self.tolerance)


# ---- between steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
def test_data_moved(name):
    twins = Twins(name)
    twins.step(2)

    @torch.no_grad()
    def move(_, parameters):
        for parameter in parameters:
            parameter.data = parameter.data.clone()
        gc.collect()

    for _ in range(3):
        twins.both(move)
        twins.step()


def test_addresses_exchanged():
    """What one parameter leaves another takes."""
    twins = Twins(shapes=((64,), (64,)))
    twins.step(2)

    def exchange(_, parameters):
        first, second = parameters
        first.data, second.data = second.data, first.data

    for _ in range(3):
        twins.both(exchange)
        twins.step()


def test_state_replaced_and_edited():
    twins = Twins()
    twins.step(2)

    def replace(optimizer, parameters):
        state = optimizer.state[parameters[0]]
        state["exp_avg"] = state["exp_avg"] * 2

    def edit(optimizer, parameters):
        optimizer.state[parameters[0]]["exp_avg_sq"].mul_(3)

    def point_elsewhere(optimizer, parameters):
        tensor = optimizer.state[parameters[1]]["exp_avg"]
        tensor.data = tensor.data + 1

    def other_dict(optimizer, parameters):
        optimizer.state[parameters[1]] = copy.deepcopy(optimizer.state[parameters[1]])

    def turn_back(optimizer, parameters):
        optimizer.state[parameters[0]]["step"].fill_(1)

    for change in (replace, edit, point_elsewhere, other_dict, turn_back):
        twins.both(change)
        twins.step()


def test_state_cleared_and_deleted():
    twins = Twins()
    twins.step(2)
    twins.both(lambda optimizer, parameters: optimizer.state.pop(parameters[0]))
    twins.step()
    twins.both(lambda optimizer, parameters: optimizer.state.clear())
    twins.step(2)


@pytest.mark.parametrize("name", PAIRS)
def test_values_edited(name):
    twins = Twins(name)
    twins.step()
    for key, value in (("lr", 0.3), ("weight_decay", 0.1), ("maximize", True), ("lr", torch.tensor(0.2))):
        twins.both(lambda optimizer, _: optimizer.param_groups[0].update({key: value}))
        twins.step()
    rate = torch.tensor(0.1)
    twins.both(lambda optimizer, _: optimizer.param_groups[0].update(lr=rate))
    for factor in (1.0, 0.5, 0.25):
        rate.mul_(factor)  # in place, as schedulers do
        twins.step()


def test_momentum_switched():
    twins = Twins("SGD")
    twins.step()
    for momentum in (0.9, 0, 0.5):
        twins.both(lambda optimizer, _: optimizer.param_groups[0].update(momentum=momentum))
        twins.step(2)
    twins.both(lambda optimizer, _: optimizer.param_groups[0].update(momentum=0.9, nesterov=True))
    twins.step(2)
    twins.both(lambda optimizer, _: optimizer.param_groups[0].update(momentum=0, nesterov=False))
    twins.step()


def test_slot_that_becomes_necessary():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.AdamW([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    optimizer.param_groups[0]["amsgrad"] = True
    optimizer.step()
    state = optimizer.state[parameter]
    assert torch.equal(state["max_exp_avg_sq"], state["exp_avg_sq"])


def test_groups_and_parameters_exchanged():
    twins = Twins()
    twins.step()
    values = torch.randn(6)

    def add(optimizer, parameters):
        parameters.append(torch.nn.Parameter(values.clone()))
        optimizer.add_param_group({"params": [parameters[-1]], "lr": 0.5})

    def replace(optimizer, parameters):
        parameters[1] = torch.nn.Parameter(values[:5].clone())
        optimizer.param_groups[0]["params"][1] = parameters[1]

    def remove(optimizer, parameters):
        del optimizer.param_groups[1]
        del parameters[2]

    for change in (add, replace, remove):
        twins.both(change)
        twins.step(2)


def test_dtype_changed():
    """As when a model is converted in place: PyTorch goes on if the state is converted too."""
    twins = Twins("SGD", momentum=0.9)
    twins.step()

    def widen(optimizer, parameters):
        for parameter in parameters:
            parameter.data = parameter.data.double()
            buffer = optimizer.state[parameter]["momentum_buffer"]
            optimizer.state[parameter]["momentum_buffer"] = buffer.double()

    for p in (*twins.ours, *twins.theirs):
        p.grad = None
    twins.both(widen)
    twins.step(2)


def test_shape_changed():
    twins = Twins("SGD", lr=0.1)
    twins.step()

    def cut(_, parameters):
        parameters[0].grad = None
        parameters[0].data = parameters[0].data[:2].clone()

    twins.both(cut)
    twins.step(2)


def test_state_of_another_shape():
    """PyTorch raises a RuntimeError about sizes; nothing is written before it is known."""
    parameter = torch.nn.Parameter(torch.ones(4))
    optimizer = optim.AdamW([parameter])
    parameter.grad = torch.ones(4)
    optimizer.step()
    before = parameter.detach().clone()
    optimizer.state[parameter]["exp_avg"] = torch.zeros(3)
    with pytest.raises(RuntimeError, match="size"):
        optimizer.step()
    assert torch.equal(parameter, before)


def test_freed_early():
    parameters = [torch.nn.Parameter(torch.ones(100)) for _ in range(3)]
    optimizer = optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones(100)
    optimizer.step()
    optimizer.state.pop(parameters[1])
    del optimizer.param_groups[0]["params"][1], parameters[1], parameter
    gc.collect()
    for parameter in parameters:
        parameter.grad = torch.ones(100)
    optimizer.step()
    assert torch.equal(parameters[0], parameters[1])


# ---- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_views(name, dtype):
    """Parameters, gradients and states with gaps, in other orders, expanded."""
    twins = Twins(name, shapes=((6, 4), (6, 4), (8,)), dtype=dtype)

    def view(optimizer, parameters):
        whole = torch.zeros(12, 4, dtype=dtype)
        whole[::2] = parameters[0].data
        parameters[0].data = whole[::2]
        parameters[1].data = parameters[1].data.t().contiguous().t()

    twins.both(view)
    for turn in range(4):
        grads = [torch.randn(p.shape, dtype=dtype) for p in twins.ours]
        if turn % 2:
            grads[0] = grads[0].t().contiguous().t()
            grads[2] = torch.randn(1, dtype=dtype).expand(8)
        for p, q, grad in zip(twins.ours, twins.theirs, grads):
            p.grad, q.grad = grad, grad.clone()
        twins.mine.step()
        twins.reference.step()
        twins.check()

    def slice_state(optimizer, parameters):
        state = optimizer.state[parameters[2]]
        for key, value in state.items():
            if value.dim() == 1:
                room = torch.zeros(16, dtype=dtype)
                room[::2] = value
                state[key] = room[::2]

    twins.both(slice_state)
    twins.step(2)


def test_expanded_parameter():
    parameter = torch.nn.Parameter(torch.ones(1).expand(4))
    optimizer = optim.SGD([parameter], lr=0.1)
    parameter.grad = torch.ones(4)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        optimizer.step()


def test_conjugate_and_negative_gradients():
    twins = Twins(shapes=((3,),), dtype=torch.complex64)
    grad = torch.randn(3, dtype=torch.complex64)
    twins.ours[0].grad, twins.theirs[0].grad = grad.conj(), grad.conj().resolve_conj()
    twins.mine.step()
    twins.reference.step()
    twins.check()
    twins = Twins(shapes=((),))
    negative = torch.tensor(2 + 3j).conj().imag
    assert negative.is_neg()
    twins.ours[0].grad, twins.theirs[0].grad = negative, negative.resolve_neg()
    for _ in range(2):
        twins.mine.step()
        twins.reference.step()
        twins.check()


def test_duplicates_and_shared_memory():
    with pytest.warns(UserWarning, match="duplicate"):
        ours = torch.nn.Parameter(torch.ones(3))
        mine = optim.AdamW([ours, ours], lr=0.1)
        theirs = torch.nn.Parameter(torch.ones(3))
        reference = torch.optim.AdamW([theirs, theirs], lr=0.1)
    for _ in range(3):
        ours.grad = theirs.grad = torch.ones(3)
        mine.step()
        reference.step()
    torch.testing.assert_close(ours, theirs)
    assert mine.state[ours]["step"] == reference.state[theirs]["step"] == 6
    whole = torch.arange(6.0)
    parts = [torch.nn.Parameter(whole[:4]), torch.nn.Parameter(whole[2:])]
    optimizer = optim.SGD(parts, lr=1.0)
    for part in parts:
        part.grad = torch.ones(4)
    optimizer.step()
    assert torch.equal(whole, torch.tensor([-1.0, 0.0, 0.0, 1.0, 3.0, 4.0]))


def test_gradient_in_a_parameters_memory():
    ours, theirs = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    ours.grad, theirs.grad = ours.detach(), theirs.detach()
    optim.SGD([ours], lr=0.1).step()
    torch.optim.SGD([theirs], lr=0.1).step()
    torch.testing.assert_close(ours, theirs)


# ---- what is not for the library -------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PAIRS, "Muon", "ADOPT", "AdamWTF"])
def test_sparse_gradient(name):
    parameter = torch.nn.Parameter(torch.ones(4, 2))
    optimizer = getattr(optim, name)([parameter], **({"weight_decay": 0.1} if name == "SGD" else {}))
    parameter.grad = torch.ones(4, 2).to_sparse()
    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        optimizer.step()
    assert torch.equal(parameter, torch.ones(4, 2))
    assert not optimizer.state


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"momentum": 0.9, "dampening": 0.5},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "maximize": True},
    ],
)
def test_sgd_takes_sparse_gradients(values):
    twins = Twins("SGD", shapes=((4, 2),), **values)
    if not values:  # PyTorch has no way from a dense buffer to a sparse one
        twins.step()
    for _ in range(2):
        indices = torch.tensor([[0, 2, 0]])
        grad = torch.sparse_coo_tensor(indices, torch.randn(3, 2), (4, 2), check_invariants=True)
        twins.ours[0].grad, twins.theirs[0].grad = grad, grad.clone()
        twins.mine.step()
        twins.reference.step()
        torch.testing.assert_close(twins.ours, twins.theirs, **twins.tolerance)
    for parameter in (*twins.ours, *twins.theirs):
        parameter.grad = None
    if not values:
        twins.step()


def test_sgd_loads_a_sparse_buffer():
    twins = Twins("SGD", shapes=((4, 2),), momentum=0.9)

    def step_theirs():
        grad = torch.sparse_coo_tensor([[0, 2]], torch.ones(2, 2), (4, 2), check_invariants=True)
        twins.theirs[0].grad = grad
        twins.reference.step()
        return grad.clone()

    step_theirs()
    with torch.no_grad():
        twins.ours[0].copy_(twins.theirs[0])
    twins.mine.load_state_dict(twins.reference.state_dict())
    twins.ours[0].grad = step_theirs()
    twins.mine.step()
    torch.testing.assert_close(twins.ours, twins.theirs, **twins.tolerance)
    twins.ours[0].grad = torch.ones(4, 2)
    twins.mine.step()
    expected = 0.9 * twins.reference.state[twins.theirs[0]]["momentum_buffer"].to_dense() + 1
    torch.testing.assert_close(twins.mine.state[twins.ours[0]]["momentum_buffer"], expected)


@pytest.mark.parametrize("name", PAIRS)
def test_meta_and_fake(name):
    """As PyTorch: shapes are enough, and where a count would have to be read it raises."""
    from torch._subclasses import FakeTensorMode

    def outcome(module, place):
        parameter = torch.nn.Parameter(torch.empty(3, **place))
        optimizer = getattr(module, name)([parameter], lr=0.1)
        parameter.grad = torch.empty(3, **place)
        try:
            optimizer.step()
        except Exception as error:  # noqa: BLE001 - it is compared
            return type(error)
        return None

    assert outcome(optim, {"device": "meta"}) is outcome(torch.optim, {"device": "meta"}) is None
    with FakeTensorMode():
        assert outcome(optim, {}) is outcome(torch.optim, {})


def test_fused_on_meta():
    for module in (torch.optim, optim):
        parameter = torch.nn.Parameter(torch.empty(3, device="meta"))
        optimizer = module.AdamW([parameter], fused=True)
        parameter.grad = torch.empty(3, device="meta")
        with pytest.raises(RuntimeError, match="`fused=True` requires all the params to be floating"):
            optimizer.step()


def test_two_devices():
    here = torch.nn.Parameter(torch.ones(3))
    there = torch.nn.Parameter(torch.empty(3, device="meta"))
    optimizer = optim.SGD([here, there], lr=0.1)
    for _ in range(2):
        here.grad, there.grad = torch.ones(3), torch.empty(3, device="meta")
        optimizer.step()
    assert torch.allclose(here, torch.full((3,), 0.8))


def test_integers_without_gradient():
    whole = torch.nn.Parameter(torch.arange(3), requires_grad=False)
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.AdamW([whole, parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(whole, torch.arange(3))


def test_mixed_types():
    twins = Twins("AdamW")
    types = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    ours = [torch.nn.Parameter(torch.ones(5, dtype=dtype)) for dtype in types]
    optimizer = optim.AdamW(ours, lr=0.5)
    for parameter in ours:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for parameter in ours:
        torch.testing.assert_close(parameter.detach(), ours[0].detach().to(parameter.dtype))
        assert optimizer.state[parameter]["exp_avg"].dtype == parameter.dtype
    twins.step()


def test_value_out_of_range_in_a_group():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.AdamW([parameter])
    parameter.grad = torch.ones(3)
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="lr"):
        optimizer.step()
    assert torch.equal(parameter, torch.ones(3))
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert optimizer.state[parameter]["step"] == 1


def test_counts_beyond_float32():
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = optim.AdamW([parameter])
    parameter.grad = torch.ones(1)
    optimizer.step()
    optimizer.state[parameter]["step"].fill_(2**24 - 1)
    for _ in range(3):
        optimizer.step()
    assert optimizer._engine._sides[0].core.count(0) == 2**24 + 2
    assert optimizer.state[parameter]["step"] == torch.tensor(2.0**24 + 2)
    optimizer._engine.rebuild()
    optimizer.step()
    assert optimizer._engine._sides[0].core.count(0) == 2**24 + 3


# ---- interpreters, processes, threads ---------------------------------------------------------------


def run_python(code, *options):
    return subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=300
    )


def test_without_torch():
    code = """
import sys
sys.modules["torch"] = None
import importlib.util
importlib.util.find_spec = lambda name, find=importlib.util.find_spec: None if name == "torch" else find(name)
import hone, hone.rules
assert "adamw" in hone.rules.RULES
try:
    hone.optim
except ImportError as error:
    print("ImportError", error)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ImportError")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_fork():
    """OpenMP's threads stay behind in the parent."""
    code = """
import os, sys, torch
from hone import optim
p = torch.nn.Parameter(torch.ones(200000)); p.grad = torch.ones(200000)
o = optim.AdamW([p], lr=0.1)
o.step()
child = os.fork()
if child == 0:
    o.step(); o.step()
    os._exit(0 if o.state[p]["step"] == 3 else 1)
assert os.waitpid(child, 0)[1] == 0
o.step()
assert o.state[p]["step"] == 2
print("done")
"""
    done = run_python(code)
    assert done.stdout == "done\n", done.stderr


def test_subinterpreter():
    """The extension module keeps nothing outside its state; PyTorch itself cannot be loaded twice."""
    code = """
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters
import sys
import hone._core
path = repr(sys.path)
for _ in range(3):
    other = interpreters.create()
    interpreters.run_string(other, f"import sys; sys.path = {path}\\n" + '''
import importlib.machinery, importlib.util
spec = importlib.machinery.PathFinder.find_spec("hone", sys.path)
folder = spec.submodule_search_locations
core = importlib.machinery.PathFinder.find_spec("hone._core", folder)
try:
    module = importlib.util.module_from_spec(core)
    core.loader.exec_module(module)
    assert len(module.rules()) > 5
except ImportError as error:
    assert "subinterpreters" in str(error)
''')
    interpreters.destroy(other)
assert len(hone._core.rules()) > 5
print("done")
"""
    done = run_python(code)
    assert done.stdout.endswith("done\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_fork_and_clipping():
    code = """
import os, torch, hone
p = torch.nn.Parameter(torch.ones(200000)); p.grad = torch.ones(200000)
hone.clip_grad_norm_([p], 1.0)
child = os.fork()
if child == 0:
    hone.clip_grad_norm_([p], 0.5)
    hone.clip_grad_value_([p], 0.1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""
    done = run_python(code)
    assert done.stdout == "done\n", done.stderr


def test_groups_filled_after_a_step():
    """A step over nothing, or over nothing that the library steps, does not end the looking."""
    plain = [torch.nn.Parameter(torch.ones(3)) for _ in range(3)]
    odd = torch.nn.Parameter(torch.ones(3, device="meta"))
    for p in (*plain, odd):
        p.grad = torch.ones_like(p)
    optimizer = optim.SGD([{"params": []}], lr=1.0)
    optimizer.step()
    optimizer.param_groups[0]["params"].append(plain[0])
    optimizer.step()
    assert plain[0].tolist() == [0, 0, 0]
    optimizer.param_groups[0]["params"].clear()
    optimizer.step()
    optimizer.add_param_group({"params": [plain[1]]})
    optimizer.step()
    assert plain[0].tolist() == plain[1].tolist() == [0, 0, 0]
    optimizer = optim.SGD([odd, plain[0]], lr=1.0)
    optimizer.step()
    optimizer.param_groups[0]["params"][0] = plain[2]
    optimizer.step()
    assert plain[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("what", ["parameter", "gradient", "state"])
def test_storage_of_nothing(what):
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    optimizer = optim.AdamW([parameter])
    optimizer.step()
    state = optimizer.state[parameter]["exp_avg"]
    tensor = {"parameter": parameter, "gradient": parameter.grad, "state": state}[what]
    tensor.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=f"{what}.*has no memory"):
        optimizer.step()


def test_inference_tensor_as_parameter():
    with torch.inference_mode():
        parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    texts = []
    for module, parameter in zip((optim, torch.optim), parameters):
        parameter.grad = torch.ones(3)
        optimizer = module.SGD([parameter], lr=1.0)
        with pytest.raises(RuntimeError) as caught:
            optimizer.step()
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    assert parameters[0].tolist() == [1, 1, 1]
    optimizer = optim.SGD(parameters[:1], lr=1.0)
    with torch.inference_mode():
        optimizer.step()
    assert parameters[0].tolist() == [0, 0, 0]


def test_parameters_with_a_gradient_of_their_own():
    """A step asks for `grad` as Python does, whatever a subclass makes of it."""

    class Property(torch.nn.Parameter):
        @property
        def grad(self):
            return torch.full_like(self.data, 3.0)

    class Attribute(torch.nn.Parameter):
        def __getattribute__(self, name):
            if name == "grad":
                return torch.full((2,), 4.0)
            return super().__getattribute__(name)

    plain = torch.nn.Parameter(torch.zeros(2))
    plain.grad = torch.ones(2)
    parameters = [plain, Property(torch.zeros(2)), Attribute(torch.zeros(2)), plain.clone().detach()]
    parameters[3].requires_grad_().grad = torch.full((2,), 2.0)
    optimizer = optim.SGD(parameters, lr=1.0)
    for count in (1, 2, 3):
        optimizer.step()
        assert [p.data[0].item() for p in parameters] == [-count, -3 * count, -4 * count, -2 * count]


def test_threads():
    """Each thread its own optimizer: as many as like; one optimizer from two threads: in turn or an
    error, never a broken state."""
    results = []

    def work():
        parameter = torch.nn.Parameter(torch.ones(50000))
        optimizer = optim.AdamW([parameter], lr=0.1)
        for _ in range(20):
            parameter.grad = torch.ones(50000)
            optimizer.step()
        results.append(parameter.detach())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 4 and all(torch.equal(r, results[0]) for r in results)


def test_one_optimizer_from_two_threads():
    parameter = torch.nn.Parameter(torch.ones(3000000))
    parameter.grad = torch.ones(3000000)
    optimizer = optim.AdamW([parameter], lr=1e-3)
    optimizer.step()
    outcomes = []

    def work():
        for _ in range(30):
            try:
                optimizer.step()
                outcomes.append("stepped")
            except RuntimeError as error:
                assert "another thread is stepping this optimizer" in str(error)
                outcomes.append("refused")

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(outcomes) == 90
    assert optimizer.state[parameter]["step"] == 1 + outcomes.count("stepped")


def test_private_module_takes_rubbish():
    """hone._core is not for users, but it does not crash either."""
    with pytest.raises(KeyError):
        _core.Optimizer(["no_such_rule"], [1])
    with pytest.raises(ValueError):
        _core.Optimizer([], [])
    core = _core.Optimizer(["adamw"], [1])
    for call in (
        lambda: core.add(3, 0, torch.ones(2), torch.ones(2)),
        lambda: core.add(0, 0, "text", "text"),
        lambda: core.bind(0, torch.ones(2), torch.ones(2), None, (), None, 0),
        lambda: core.count(5),
        lambda: core.skip(-1),
        lambda: core.set(9, "lr", 1.0),
        lambda: core.watch(9, {}, ()),
    ):
        with pytest.raises((ValueError, TypeError)):
            call()
    assert core.run() == []
    assert core.step([{"params": []}], {})[0] is True
    assert _core.layout("text") is None
    assert hone.clip_grad_norm_([], 1.0) == 0
