# SPDX-License-Identifier: Apache-2.0
"""What passes between PyTorch's optimizers and hone's, and between a hone optimizer and its copies: state
dicts either way, by order and by name; pickles and deep copies; GradScaler; gradients through steps."""

import copy
import io
import pickle

import pytest
import torch

from hone import optim
from hone.optim._classes import CLASSES

F32, F64 = torch.float32, torch.float64
INF = float("inf")
CLOSE = {F64: dict(rtol=1e-12, atol=1e-12), F32: dict(rtol=1.3e-6, atol=1e-5)}

# Options that no class has by default, so that a group which was not loaded is seen.
CONFIGS = {
    "SGD": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.02}),
    "SGD nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "maximize": True}),
    "Adam": ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.02}),
    "Adam amsgrad": ("Adam", {"lr": 0.02, "betas": (0.8, 0.7), "amsgrad": True}),
    "AdamW": ("AdamW", {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.3}),
    "AdamW amsgrad": ("AdamW", {"lr": 0.02, "betas": (0.8, 0.7), "amsgrad": True, "maximize": True}),
    "RMSprop": ("RMSprop", {"lr": 0.02, "alpha": 0.9, "weight_decay": 0.02}),
    "RMSprop centered": (
        "RMSprop",
        {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "centered": True, "momentum": 0.5},
    ),
}
configs = pytest.mark.parametrize("name, options", CONFIGS.values(), ids=CONFIGS.keys())
dtypes = pytest.mark.parametrize("dtype", [F64, F32], ids=["double", "float"])
ROUTES = {
    "out and back": (torch.optim, optim, torch.optim),
    "in and out": (optim, torch.optim, optim),
}
routes = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())

SHAPES = [(4, 3), (7,), (), (2, 5)]
MATRICES = [(16, 24), (32, 16), (20, 20)]


def make(shapes, dtype, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=F64).to(dtype))
        for shape in shapes
    ]


def give_grads(parameters, call):
    """Gradients that depend on the call alone; from call to call another parameter has none, and the
    last one never has before the fifth, so that a file without its state is loaded too."""
    generator = torch.Generator().manual_seed(100 + call)
    for index, p in enumerate(parameters):
        grad = torch.randn(p.shape, generator=generator, dtype=F64).to(p.dtype)
        missing = call % len(parameters) == index or (index == len(parameters) - 1 and call < 4)
        p.grad = None if missing else grad


def grouped(parameters):
    """Two groups; the second has a rate of its own."""
    return [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.01}]


def through_file(state_dict):
    """As it is after torch.save and torch.load, which takes nothing but tensors and plain values."""
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def compare(ours, theirs, mine, reference, tolerance):
    """Parameters and states of two optimizers."""
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), **tolerance)
        state, expected = mine.state.get(p, {}), reference.state.get(q, {})
        assert set(state) == set(expected)
        for key, value in expected.items():
            torch.testing.assert_close(state[key], value, **tolerance)


# ---- state dicts, by order ------------------------------------------------------------------------


@configs
@dtypes
@routes
def test_state_dicts_go_both_ways(name, options, dtype, route):
    """Three calls in one library, three in the other, three in the first: PyTorch's nine."""
    ours, theirs = make(SHAPES, dtype), make(SHAPES, dtype)
    reference = getattr(torch.optim, name)(grouped(theirs), **options)
    mine = getattr(route[0], name)(grouped(ours), **options)
    call = 0
    for following in (*route[1:], None):
        for _ in range(3):
            give_grads(ours, call)
            give_grads(theirs, call)
            mine.step()
            reference.step()
            compare(ours, theirs, mine, reference, CLOSE[dtype])
            call += 1
        if following is not None:
            saved = through_file(mine.state_dict())
            assert_same_form(saved, reference.state_dict())
            mine = getattr(following, name)(grouped(ours))
            mine.load_state_dict(saved)


def assert_same_form(saved, expected):
    """The same keys, types and shapes throughout, and the same values of groups. Loading gives every group
    `differentiable`, in PyTorch too, which Muon's do not have before."""
    groups = [[{"differentiable": False, **g} for g in d["param_groups"]] for d in (saved, expected)]
    assert groups[0] == groups[1]
    assert saved["state"].keys() == expected["state"].keys()
    for key, state in expected["state"].items():
        assert saved["state"][key].keys() == state.keys()
        for slot, value in state.items():
            mine = saved["state"][key][slot]
            assert type(mine) is type(value)
            if isinstance(value, torch.Tensor):
                assert mine.dtype == value.dtype and mine.shape == value.shape


MUON = {
    "original": {"lr": 0.05, "weight_decay": 0.2, "momentum": 0.8},
    "match": {"lr": 0.05, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"},
}


def adjusted(lr, options, shape):
    if options.get("adjust_lr_fn") == "match_rms_adamw":
        return lr * 0.2 * max(shape) ** 0.5
    return lr * max(1.0, shape[0] / shape[1]) ** 0.5


def muon_updates(before, after, optimizer, options):
    """The orthogonalised updates of one call, got back from the parameters."""
    updates = []
    for group in optimizer.param_groups:
        lr, decay = group["lr"], group["weight_decay"]
        for p in group["params"]:
            index = len(updates)
            moved = before[index] * (1 - lr * decay) - after[index].detach()
            updates.append(moved / adjusted(lr, options, p.shape))
    return updates


@pytest.mark.parametrize("options", MUON.values(), ids=MUON.keys())
@dtypes
@routes
def test_muons_state_dicts_go_both_ways(options, dtype, route):
    """PyTorch rounds its products to bfloat16, so updates agree within 3e-2 of their norm; the momentum
    does not depend on them and agrees as in other optimizers."""
    ours, theirs = make(MATRICES, dtype), make(MATRICES, dtype)
    reference = torch.optim.Muon(grouped(theirs), **options)
    mine = route[0].Muon(grouped(ours), **options)
    call = 0
    for following in (*route[1:], None):
        for _ in range(3):
            kept = [p.detach().clone() for p in ours], [q.detach().clone() for q in theirs]
            give_grads(ours, call)
            give_grads(theirs, call)
            mine.step()
            reference.step()
            found = muon_updates(kept[0], ours, mine, options)
            wanted = muon_updates(kept[1], theirs, reference, options)
            for p, q, update, expected in zip(ours, theirs, found, wanted, strict=True):
                if p.grad is None:
                    continue
                assert (update - expected).norm() <= 3e-2 * expected.norm()
                buffers = mine.state[p]["momentum_buffer"], reference.state[q]["momentum_buffer"]
                torch.testing.assert_close(*buffers, **CLOSE[dtype])
            call += 1
        if following is not None:
            saved = through_file(mine.state_dict())
            assert_same_form(saved, reference.state_dict())
            mine = following.Muon(grouped(ours))
            mine.load_state_dict(saved)


# ---- state dicts, by name -------------------------------------------------------------------------

NAMES = ["a", "b", "c", "d"]


def in_order(parameters, order):
    """Named parameters as one group in another order."""
    named = dict(zip(NAMES, parameters))
    return [(name, named[name]) for name in order]


@configs
@dtypes
def test_names_go_both_ways(name, options, dtype):
    """PyTorch's file into an optimizer whose parameters have another order, and from there by name into
    PyTorch's order, and so to PyTorch."""
    ours, theirs = make(SHAPES, dtype), make(SHAPES, dtype)
    reference = getattr(torch.optim, name)(in_order(theirs, "abcd"), **options)
    mine = getattr(torch.optim, name)(in_order(ours, "abcd"), **options)

    def go_on(calls):
        for call in calls:
            give_grads(ours, call)
            give_grads(theirs, call)
            mine.step()
            reference.step()
            compare(ours, theirs, mine, reference, CLOSE[dtype])

    go_on(range(3))
    for order in ("cadb", "abcd"):
        saved = through_file(mine.state_dict())
        mine = getattr(optim, name)(in_order(ours, order), **options)
        mine.load_state_dict(saved, by_name=True)
        assert mine.param_groups[0]["param_names"] == list(order)
        go_on(range(3, 6) if order == "cadb" else [6])
    saved = through_file(mine.state_dict())
    assert_same_form(saved, reference.state_dict())
    mine = getattr(torch.optim, name)(in_order(ours, "abcd"))
    mine.load_state_dict(saved)
    go_on(range(7, 10))


def test_muons_names():
    """Three calls in PyTorch, and the rest by name in another order: PyTorch's momentum throughout."""
    ours, theirs = make(MATRICES, F64), make(MATRICES, F64)
    options = MUON["original"]
    reference = torch.optim.Muon(in_order(theirs, "abc"), **options)
    mine = torch.optim.Muon(in_order(ours, "abc"), **options)
    for call in range(9):
        if call in (3, 6):
            saved = through_file(mine.state_dict())
            mine = optim.Muon(in_order(ours, "cab" if call == 3 else "abc"), **options)
            mine.load_state_dict(saved, by_name=True)
        give_grads(ours, call)
        give_grads(theirs, call)
        mine.step()
        reference.step()
        for p, q in zip(ours, theirs, strict=True):
            assert set(mine.state.get(p, {})) == set(reference.state.get(q, {}))
            for key, value in reference.state.get(q, {}).items():
                torch.testing.assert_close(mine.state[p][key], value, **CLOSE[F64])
    assert_same_form(through_file(mine.state_dict()), reference.state_dict())


@pytest.mark.parametrize("by_name", [False, True])
def test_groups_of_the_same_names_take_their_values(by_name):
    """By name a group's values follow its names to wherever the group stands; by order they do not."""
    parameters = make([(3,), (3,)], F64)
    groups = [
        {"params": [("a", parameters[0])], "lr": 0.3},
        {"params": [("b", parameters[1])], "lr": 0.7},
    ]
    saved = torch.optim.AdamW(groups, weight_decay=0.5).state_dict()
    turned = [{"params": [("b", parameters[1])]}, {"params": [("a", parameters[0])]}]
    mine = optim.AdamW(turned)
    mine.load_state_dict(saved, by_name=by_name)
    assert [g["lr"] for g in mine.param_groups] == ([0.7, 0.3] if by_name else [0.3, 0.7])
    assert [g["weight_decay"] for g in mine.param_groups] == [0.5, 0.5]


# ---- copies ---------------------------------------------------------------------------------------


def pickled(value):
    return pickle.loads(pickle.dumps(value))


MASK = torch.tensor([[True, False, True], [False, True, True]])

# Classes and what they are made with; all of the registry are here. Rates are so large that bfloat16 moves.
COPIED = {
    **{f"{title} default": (title, {"lr": 0.1}) for title in CLASSES},
    **CONFIGS,
    "AdamW fused": ("AdamW", {"lr": 0.1, "fused": True}),
    "ADOPT number": ("ADOPT", {"lr": 0.1, "clip_lambda": 0.5, "weight_decay": 0.1, "decouple": True}),
    "Muon match": ("Muon", {"lr": 0.1, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}),
    "SparseAdam": ("SparseAdam", {"lr": 0.1}),
    "MaskedAdamW": (
        "MaskedAdamW",
        {"sparse_masks": {"p": MASK}, "masked_lr": 0.1, "unmasked_lr": 0.01},
    ),
}


def copied_step(pair, call):
    optimizer, parameter = pair
    generator = torch.Generator().manual_seed(call)
    grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    parameter.grad = grad.to_sparse(1) if isinstance(optimizer, optim.SparseAdam) else grad
    optimizer.step()


def assert_bits(first, second):
    """Parameters and states equal bit for bit."""
    (a, p), (b, q) = first, second
    assert torch.equal(p, q)
    assert set(a.state[p]) == set(b.state[q]) and a.state[p].keys() == b.state[q].keys()
    for key, value in a.state[p].items():
        other = b.state[q][key]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


@pytest.mark.parametrize("way", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("dtype", [F64, F32, torch.bfloat16], ids=["double", "float", "bfloat16"])
@pytest.mark.parametrize("name, options", COPIED.values(), ids=COPIED.keys())
def test_a_copy_goes_on_alike(name, options, dtype, way):
    parameter = torch.nn.Parameter(torch.randn(2, 3).to(dtype))
    original = getattr(optim, name)([("p", parameter)], **options), parameter
    for call in range(3):
        copied_step(original, call)
    twin = way(original)
    assert twin[0].param_groups[0]["params"][0] is twin[1] is not parameter
    assert type(twin[0]) is type(original[0])
    # The copy shares no memory with the original, and the engine of neither is the other's.
    before = copy.deepcopy((twin[1].detach(), dict(twin[0].state[twin[1]])))
    copied_step(original, 3)
    assert not torch.equal(parameter, before[0])
    assert torch.equal(twin[1], before[0])
    for key, value in before[1].items():
        assert torch.equal(torch.as_tensor(twin[0].state[twin[1]][key]), torch.as_tensor(value))
    copied_step(twin, 3)
    assert_bits(original, twin)
    for group in (*original[0].param_groups, *twin[0].param_groups):  # both still read their groups
        group["lr"] = 0.25
    copied_step(twin, 4)
    copied_step(original, 4)
    assert_bits(original, twin)
    kept = "_step_supports_amp_scaling"
    assert getattr(twin[0], kept, None) == getattr(original[0], kept, None)


# ---- GradScaler -----------------------------------------------------------------------------------

SCALED = {
    "SGD": ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02}),
    "AdamW": ("AdamW", {"lr": 0.02, "weight_decay": 0.3}),
    "AdamW amsgrad": ("AdamW", {"lr": 0.02, "amsgrad": True, "maximize": True}),
}


def scaled_call(optimizer, parameters, scaler, call, infinite, unscale):
    """One call of a loop with a scaler; the gradients it gave before they were unscaled."""
    generator = torch.Generator().manual_seed(call)
    loss = 0
    for p in parameters:
        p.grad = None
        factor = torch.randn(p.shape, generator=generator, dtype=F64).to(p.dtype)
        loss = loss + (p * factor).sum()
    if infinite:
        loss = loss + (parameters[0].flatten()[0] * INF)
    scaler.scale(loss).backward()
    grads = [p.grad.clone() for p in parameters]
    if unscale:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    scaler.step(optimizer)
    scaler.update()
    return grads


@pytest.mark.parametrize("name, options", SCALED.values(), ids=SCALED.keys())
@pytest.mark.parametrize("fused", [True, None], ids=["fused", "plain"])
@pytest.mark.parametrize("unscale", [False, True], ids=["", "unscaled before"])
@pytest.mark.parametrize("skipped", [(2, 5), (0, 3, 4)], ids=["later", "first"])
@dtypes
def test_gradient_scaler(name, options, fused, unscale, skipped, dtype):
    """Scales grow after two good calls and shrink after an infinite gradient, which moves nothing."""
    runs = []
    for module in (optim, torch.optim):
        parameters = make(SHAPES, dtype)
        # After a first call that it skips, PyTorch's fused SGD goes on from memory that nobody has written.
        sound = module is optim or name != "SGD" or 0 not in skipped
        optimizer = getattr(module, name)(parameters, fused=fused if sound else None, **options)
        init = 1024.0 if dtype is F64 else 1000.0  # 1 / 1000 is rounded to float32
        scaler = torch.amp.GradScaler("cpu", init_scale=init, growth_interval=2)
        runs.append((parameters, optimizer, scaler))
    (ours, mine, my_scaler), (theirs, reference, scaler) = runs
    for call in range(8):
        infinite = call in skipped
        kept = copy.deepcopy(([p.detach() for p in ours], [dict(mine.state.get(p, {})) for p in ours]))
        grads = scaled_call(mine, ours, my_scaler, call, infinite, unscale)
        scaled_call(reference, theirs, scaler, call, infinite, unscale)
        assert my_scaler.state_dict() == scaler.state_dict()
        if fused and not unscale:  # the step reads scaled gradients and does not write them
            assert all(torch.equal(p.grad, grad) for p, grad in zip(ours, grads))
        if infinite:
            for p, before, state in zip(ours, *kept):
                assert torch.equal(p, before)
                assert mine.state.get(p, {}).keys() == state.keys()
                assert all(torch.equal(mine.state[p][key], state[key]) for key in state)
        if call > 0:  # PyTorch's fused step makes states in a first call that it then skips
            compare(ours, theirs, mine, reference, CLOSE[dtype])
    if name == "AdamW":
        assert all(mine.state[p]["step"] == 8 - len(skipped) for p in ours)


# ---- gradients through a step ---------------------------------------------------------------------

# Class, options, states that the step starts from; those of second moments have to be positive.
DIFFERENTIABLE = {
    "SGD": ("SGD", {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}, ["momentum_buffer"]),
    "SGD nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}, ["momentum_buffer"]),
    "Adam": ("Adam", {"weight_decay": 0.1}, ["exp_avg", "exp_avg_sq"]),
    "Adam amsgrad": ("Adam", {"amsgrad": True}, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
    "AdamW": ("AdamW", {"weight_decay": 0.1, "maximize": True}, ["exp_avg", "exp_avg_sq"]),
    "AdamW amsgrad": ("AdamW", {"amsgrad": True}, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
    "RMSprop": ("RMSprop", {"weight_decay": 0.1}, ["square_avg"]),
    "RMSprop centered": (
        "RMSprop",
        {"centered": True, "momentum": 0.5, "eps": 0.1},
        ["square_avg", "momentum_buffer", "grad_avg"],
    ),
    "ADOPT": ("ADOPT", {"weight_decay": 0.1, "clip_lambda": None}, ["exp_avg", "exp_avg_sq"]),
    "ADOPT clip": ("ADOPT", {"weight_decay": 0.1, "decouple": True}, ["exp_avg", "exp_avg_sq"]),
}
differentiable = pytest.mark.parametrize(
    "name, options, slots", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE.keys()
)


def differentiable_step(module, name, options, slots):
    """The step as a function of parameter, gradient and states, to the parameter and states after it."""

    def function(parameter, grad, *states):
        parameter = parameter.clone()
        parameter.grad = grad
        optimizer = getattr(module, name)([parameter], lr=0.1, differentiable=True, **options)
        state = {slot: value.clone() for slot, value in zip(slots, states, strict=True)}
        if name != "SGD":
            state["step"] = torch.tensor(10.0, dtype=F64)
        optimizer.state[parameter].update(state)
        optimizer.step()
        return parameter, *(optimizer.state[parameter][slot] for slot in slots)

    return function


def step_inputs(slots):
    """Second moments far above the mean's square, and a greatest one above and below them."""
    generator = torch.Generator().manual_seed(7)
    values = [torch.randn(8, generator=generator, dtype=F64) for _ in range(2)]
    for slot in slots:
        value = torch.rand(8, generator=generator, dtype=F64)
        offset = {"grad_avg": 0, "max_exp_avg_sq": 0.2}.get(slot, 1.5 if slot == "square_avg" else 0.3)
        values.append(value + offset)
    return [value.requires_grad_() for value in values]


@differentiable
def test_gradcheck(name, options, slots):
    values = step_inputs(slots)
    assert torch.autograd.gradcheck(differentiable_step(optim, name, options, slots), values)


@pytest.mark.parametrize(
    "name, options, slots",
    [case for case in DIFFERENTIABLE.values() if case[0] != "ADOPT"],
    ids=[key for key in DIFFERENTIABLE if not key.startswith("ADOPT")],
)
def test_gradients_are_torchs(name, options, slots):
    """Values and gradients of a differentiable step, with respect to all that goes into it."""
    results = []
    for module in (optim, torch.optim):
        values = step_inputs(slots)
        outputs = differentiable_step(module, name, options, slots)(*values)
        weights = [torch.linspace(0.5, 2, 8, dtype=F64) * (i + 1) for i in range(len(outputs))]
        grads = torch.autograd.grad(outputs, values, weights)
        results.append((outputs, grads))
        assert all(grad.abs().max() > 0 for grad in grads)
    torch.testing.assert_close(results[0][0], results[1][0], **CLOSE[F64])
    torch.testing.assert_close(results[0][1], results[1][1], **CLOSE[F64])


# Where PyTorch's own gradients through several steps are whole: it forgets what SGD's first momentum came
# from, and fails at amsgrad and at a centered variance.
SEVERAL = {
    "SGD": ("SGD", {"weight_decay": 0.1}),
    "Adam": ("Adam", {"weight_decay": 0.1}),
    "AdamW": ("AdamW", {"weight_decay": 0.1}),
    "RMSprop": ("RMSprop", {"weight_decay": 0.1}),
    "RMSprop momentum": ("RMSprop", {"momentum": 0.5}),
}
OURS_ALONE = {
    "SGD momentum": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "Adam amsgrad": ("Adam", {"amsgrad": True, "betas": (0.8, 0.5)}),
    "RMSprop centered": ("RMSprop", {"centered": True, "momentum": 0.5, "eps": 0.1}),
    "ADOPT": ("ADOPT", {"weight_decay": 0.1, "decouple": True}),
    "AdamWTF": ("AdamWTF", {"weight_decay": 0.1}),
}


def three_steps(module, name, options, start, rate):
    """Of gradients that the parameter itself gives."""
    parameter = start.clone()
    optimizer = getattr(module, name)([parameter], lr=rate, differentiable=True, **options)
    for _ in range(3):
        point = parameter.clone()  # the step writes the parameter in place
        loss = ((point - 0.3) ** 4 + point**2).sum()
        (parameter.grad,) = torch.autograd.grad(loss, point, create_graph=True)
        optimizer.step()
    return parameter


@pytest.fixture
def double_by_default():
    """PyTorch's bias corrections come from the counter, so from float32 by default."""
    torch.set_default_dtype(F64)
    yield
    torch.set_default_dtype(F32)


@pytest.mark.parametrize("name, options", SEVERAL.values(), ids=SEVERAL.keys())
def test_gradients_through_three_steps_are_torchs(name, options, double_by_default):
    """By the start, and by the learning rate where PyTorch takes a tensor for it."""
    results = []
    for module in (optim, torch.optim):
        start = torch.linspace(-1, 2, 6, dtype=F64).requires_grad_()
        rate = 0.1 if name == "RMSprop" else torch.tensor(0.1, dtype=F64, requires_grad=True)
        inputs = [start] if name == "RMSprop" else [start, rate]
        loss = (three_steps(module, name, options, start, rate) ** 2).sum()
        results.append(torch.autograd.grad(loss, inputs))
        assert all(grad.abs().max() > 0 for grad in results[-1])
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "name, options",
    [*SEVERAL.values(), *OURS_ALONE.values()],
    ids=[*SEVERAL.keys(), *OURS_ALONE.keys()],
)
def test_gradcheck_through_three_steps(name, options):
    start = torch.linspace(-1, 2, 6, dtype=F64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: three_steps(optim, name, options, x, 0.02), [start])
