# SPDX-License-Identifier: Apache-2.0
"""Numbers that the definitions give, worked out in double precision by an independent model: parameters
after every call, and states after every call or the last."""

import pytest
import torch

from hone import optim

EXACT = dict(rtol=5e-12, atol=1e-14)  # the numbers have twelve digits
THETA = [1, -2, 0.5]
GRADS = [[0.1, -0.2, 0], [0.3, -0.1, 0.01], [-0.2, 0.4, 0.02], [0.1, 0.1, -0.5]]


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def run(name, start, grads, options):
    """The optimizer and its parameter after each call."""
    parameter = torch.nn.Parameter(double(start))
    optimizer = getattr(optim, name)([parameter], **options)
    for grad in grads:
        parameter.grad = double(grad)
        optimizer.step()
        yield optimizer, parameter


def check_state(optimizer, parameter, expected):
    for key, value in expected.items():
        torch.testing.assert_close(optimizer.state[parameter][key], double(value), **EXACT)


# ---- SGD ------------------------------------------------------------------------------------------

SGD = {
    "momentum": (
        {},
        [[0.949, -1.019], [0.892151, -0.995081], [0.810094749, -1.002558819]],
        [[0.51, 0.19], [0.56849, -0.23919], [0.82056251, 0.07477819]],
    ),
    "nesterov": (
        {"nesterov": True},
        [[0.9031, -1.0361], [0.84107411, -0.97352141], [0.736465558191, -1.00928347832]],
        [[0.51, 0.19], [0.568031, -0.239361], [0.8196386411, 0.0748398859]],
    ),
    "dampening": (
        {"dampening": 0.5},
        [[0.949, -1.019], [0.8976255, -1.0155905], [0.83593963725, -1.02701415475]],
        [[0.51, 0.19], [0.513745, -0.034095], [0.6168586275, 0.1142365475]],
    ),
}


@pytest.mark.parametrize("options, thetas, buffers", SGD.values(), ids=SGD.keys())
def test_sgd(options, thetas, buffers):
    grads = [[0.5, 0.2], [0.1, -0.4], [0.3, 0.3]]
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, **options}
    calls = run("SGD", [1, -1], grads, options)
    for (optimizer, parameter), theta, buffer in zip(calls, thetas, buffers, strict=True):
        torch.testing.assert_close(parameter.detach(), double(theta), **EXACT)
        check_state(optimizer, parameter, {"momentum_buffer": buffer})


# ---- Adam, AdamW, RMSprop -------------------------------------------------------------------------

_MOMENTS = {
    "exp_avg": [0.02359, 0.02332, -0.04739],
    "exp_avg_sq": [0.00014975011999, 0.00021970012996, 0.0002504994001],
}

# Class, options, parameters after each call, states after the last.
ADAPTIVE = {
    "Adam": (
        "Adam",
        {},
        [[0.990000001, -1.9900000005, 0.5], [0.980822190221, -1.9806782047, 0.492558642285],
         [0.978243152289, -1.9827417749, 0.484272922414],
         [0.974700598927, -1.98563302354, 0.489775363714]],
        _MOMENTS,
    ),
    "Adam L2": (
        "Adam",
        {"weight_decay": 0.1},
        [[0.9900000005, -1.99000000025, 0.490000002],
         [0.980345513614, -1.98017735508, 0.479991019287],
         [0.974493814349, -1.97553604051, 0.469962568122],
         [0.967789624208, -1.9707584113, 0.473810119509]],
        {"exp_avg": [0.0574670477701, -0.0449559566028, -0.030756455129],
         "exp_avg_sq": [0.000248135691193, 0.000299015511253, 0.000215798194329]},
    ),
    "AdamW": (
        "AdamW",
        {"weight_decay": 0.1},
        [[0.989000001, -1.9880000005, 0.4995], [0.97883319022, -1.9766902047, 0.491559142285],
         [0.975275319098, -1.97677708469, 0.482781863272],
         [0.970757490417, -1.97769155625, 0.487801522708]],
        _MOMENTS,
    ),
    "AdamW maximize": (
        "AdamW",
        {"weight_decay": 0.1, "maximize": True},
        [[1.008999999, -2.0079999995, 0.4995], [1.01716880978, -2.0153137953, 0.506441857715],
         [1.0187306789, -2.01123491131, 0.514221135728],
         [1.02125450159, -2.00633242775, 0.508204473293]],
        {"exp_avg": [-0.02359, -0.02332, 0.04739], "exp_avg_sq": _MOMENTS["exp_avg_sq"]},
    ),
    "AdamW amsgrad": (
        "AdamW",
        {"weight_decay": 0.1, "amsgrad": True, "betas": (0.9, 0.5)},
        [[0.989000001, -1.9880000005, 0.4995], [0.979854670493, -1.97698756516, 0.492554482256],
         [0.97648334625, -1.97673757788, 0.485388619253],
         [0.972459427006, -1.97698045692, 0.48867538805]],
        {"exp_avg_sq": [0.026875, 0.04875, 0.1251125],
         "max_exp_avg_sq": [0.0475, 0.0875, 0.1251125]},
    ),
    "RMSprop": (
        "RMSprop",
        {},
        [[0.9000001, -1.90000005, 0.5], [0.805084330455, -1.85509874465, 0.40000099999],
         [0.858747607847, -1.94257269223, 0.310469104583],
         [0.832710890647, -1.96403898614, 0.410370428809]],
        {"square_avg": [0.0014751199, 0.0021701296, 0.0025049401]},
    ),
    "RMSprop centered": (
        "RMSprop",
        {"weight_decay": 0.1, "centered": True, "momentum": 0.1},
        [[0.899496268979, -1.89949624373, 0.399496420494],
         [0.79955946394, -1.82998270221, 0.31787790759],
         [0.816273906825, -1.86367944799, 0.249418276077],
         [0.780156965636, -1.850976778, 0.341170780564]],
        {"square_avg": [0.00235101641463, 0.00291723891167, 0.00233206487078],
         "grad_avg": [0.00639033206935, -0.00543835459166, -0.00326317665368],
         "momentum_buffer": [3.61169411888, -1.27026699907, -9.1752504487]},
    ),
    "RMSprop maximize": (
        "RMSprop",
        {"weight_decay": 0.05, "maximize": True},
        [[1.0999998, -2.0999999, 0.400000399998], [1.19799976096, -2.09498105391, 0.362700282578],
         [1.12575599233, -1.99685537424, 0.369674707905],
         [1.13787772897, -1.9604835517, 0.269806131337]],
        {"square_avg": [0.00130039535014, 0.00301888514793, 0.00269533274527]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name, options, thetas, state", ADAPTIVE.values(), ids=ADAPTIVE.keys())
def test_adaptive(name, options, thetas, state):
    calls = run(name, THETA, GRADS, {"lr": 1e-2, **options})
    for (optimizer, parameter), theta in zip(calls, thetas, strict=True):
        torch.testing.assert_close(parameter.detach(), double(theta), **EXACT)
    check_state(optimizer, parameter, state)
    assert optimizer.state[parameter]["step"] == 4


# ---- Muon -----------------------------------------------------------------------------------------

MUON_P = [[1, 0], [0, 1], [0.5, -0.5]]
MUON_GRADS = [[[0.1, 0.2], [-0.3, 0.1], [0.05, 0]], [[0.2, -0.1], [0, 0.1], [0.1, 0.3]]]
MUON = {
    "nesterov": (
        {},
        [[[0.989815941679, -0.015125952738], [0.0257115279386, 0.989857347143],
          [0.494742348986, -0.498917189073]],
         [[0.967426490665, -0.0133125435518], [0.0378636729127, 0.975888625705],
          [0.485038110805, -0.520505530602]]],
    ),
    "plain": (
        {"nesterov": False},
        [[[0.989815941679, -0.015125952738], [0.0257115279386, 0.989857347143],
          [0.494742348986, -0.498917189073]],
         [[0.970389741842, -0.0204823635997], [0.0428692030532, 0.975046395416],
          [0.485349689524, -0.516924144117]]],
    ),
    "match_rms_adamw": (
        {"adjust_lr_fn": "match_rms_adamw"},
        [[[0.995685198746, -0.00427826550117], [0.00727231830402, 0.995696909979],
          [0.497795754438, -0.498976577533]],
         [[0.987921059744, -0.00376535592813], [0.0107094639509, 0.990314512972],
          [0.494335258416, -0.504366959636]]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("options, expected", MUON.values(), ids=MUON.keys())
def test_muon(options, expected):
    calls = run("Muon", MUON_P, MUON_GRADS, {"lr": 0.02, "weight_decay": 0.1, **options})
    buffers = [
        [[0.005, 0.01], [-0.015, 0.005], [0.0025, 0]],
        [[0.01475, 0.0045], [-0.01425, 0.00975], [0.007375, 0.015]],
    ]
    for (optimizer, parameter), matrix, buffer in zip(calls, expected, buffers, strict=True):
        torch.testing.assert_close(parameter.detach(), double(matrix), rtol=1e-10, atol=1e-12)
        check_state(optimizer, parameter, {"momentum_buffer": buffer})


# ---- ADOPT ----------------------------------------------------------------------------------------

_M = [[0, 0, 0], [0.1, -0.05, 0.1], [-0.0289207115003, 0.0739207115003, 0.2089207115],
      [0.0739164089766, 0.116523016112, 0.056421239055]]  # fmt: skip
_V = [[0.01, 0.04, 0], [0.010008, 0.039997, 1e-08], [0.0100109992, 0.0400090003, 4.9999e-08],
      [0.0100109981001, 0.0400059994, 2.50499940001e-05]]  # fmt: skip

# Options, and after each call: parameter, exp_avg, exp_avg_sq. Not the numbers of the formulas in dicee's
# documentation, which normalise by the second moment of the same call.
ADOPT = {
    "default": (
        {},
        [[1, -2, 0.5], [0.999, -1.9995, 0.499], [0.999289207115, -2.00023920712, 0.496910792885],
         [0.998550043025, -2.00140443728, 0.496346580494]],
        _M,
        _V,
    ),
    "L2": (
        {"weight_decay": 0.1},
        [[1, -2, 0.5], [0.999, -1.99925, 0.499], [0.998600424942, -1.99907519844, 0.496910792885],
         [0.997241619589, -1.99866809341, 0.496346580494]],
        [[0, 0, 0], [0.1, -0.075, 0.1], [0.0399575058112, -0.0174801558039, 0.2089207115],
         [0.135880535246, -0.04071050303, 0.056421239055]],
        [[0.04, 0.16, 0.0025], [0.040012, 0.159993, 0.00250011],
         [0.040009000801, 0.159981003701, 0.00250034859],
         [0.0400089943046, 0.159966003751, 0.00252037636755]],
    ),
    "decouple": (
        {"weight_decay": 0.1, "decouple": True},
        [[1, -2, 0.5], [0.998, -1.9975, 0.4985], [0.997291207115, -1.99624170712, 0.495912292885],
         [0.995554751818, -1.99541069557, 0.494852168202]],
        _M,
        _V,
    ),
    "no clip": (
        {"clip_lambda": None},
        [[1, -2, 0.5], [0.997, -1.9995, -9.5], [0.99629920048, -2.001050075, -18.7],
         [0.994669030418, -2.00294508627, -24.7439096615]],
        [[0, 0, 0], [0.3, -0.05, 1000], [0.070079952032, 0.155007500422, 920],
         [0.163017006156, 0.189501126141, 604.390966148]],
        _V,
    ),
    "maximize": (
        {"maximize": True},
        [[1, -2, 0.5], [1.001, -2.0005, 0.501], [1.00071079288, -1.99976079288, 0.503089207115],
         [1.00144995697, -1.99859556272, 0.503653419506]],
        [[-x for x in row] for row in _M],
        _V,
    ),
}  # fmt: skip
adopt_cases = pytest.mark.parametrize(
    "options, thetas, firsts, seconds", ADOPT.values(), ids=ADOPT.keys()
)


@adopt_cases
def test_adopt_class(options, thetas, firsts, seconds):
    calls = run("ADOPT", THETA, GRADS, {"lr": 1e-2, **options})
    expected = zip(thetas, firsts, seconds)
    for (optimizer, parameter), (theta, first, second) in zip(calls, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), double(theta), **EXACT)
        check_state(optimizer, parameter, {"exp_avg": first, "exp_avg_sq": second})


# Flags of the functional form, whose clip is a callable in the published code. Its lists hold everything
# twice: each has to be stepped.
FORMS = {
    "library": {},
    "foreach": {"foreach": True},
    "differentiable": {"differentiable": True},
    "scaled": {"grad_scale": torch.tensor(1024.0), "found_inf": torch.tensor(0.0)},
}


def adopt_call(tensors, grad, options, **flags):
    theta, first, second, step = tensors
    grad = double(grad) * float(flags.get("grad_scale", 1))
    defaults = {"clip_lambda": lambda s: s**0.25, "weight_decay": 0.0, "decouple": False,
                "maximize": False}  # fmt: skip
    optim.adopt(
        list(theta), [grad, grad.clone()], list(first), list(second), list(step), **flags,
        beta1=0.9, beta2=0.9999, lr=1e-2, eps=1e-6, **{**defaults, **options},
    )  # fmt: skip


@pytest.mark.parametrize("flags", FORMS.values(), ids=FORMS.keys())
@adopt_cases
def test_adopt_function(options, thetas, firsts, seconds, flags):
    tensors = [[double(THETA), double(THETA)], *([double([0, 0, 0]), double([0, 0, 0])] for _ in "mv"),
               [torch.tensor(0.0), torch.tensor(0.0)]]  # fmt: skip
    for call, grad in enumerate(GRADS):
        adopt_call(tensors, grad, options, **flags)
        expected = thetas[call], firsts[call], seconds[call]
        for pair, value in zip(tensors, expected):
            for tensor in pair:
                torch.testing.assert_close(tensor, double(value), **EXACT)
        assert tensors[3] == [call + 1, call + 1]


def test_adopt_function_with_found_inf():
    """Nothing moves, counters included."""
    tensors = [[double(THETA), double(THETA)], *([double([0, 0, 0]), double([0, 0, 0])] for _ in "mv"),
               [torch.tensor(1.0), torch.tensor(1.0)]]  # fmt: skip
    inf = {"grad_scale": torch.tensor(2.0), "found_inf": torch.tensor(1.0)}
    adopt_call(tensors, GRADS[1], {}, **inf)
    for pair, value in zip(tensors, [THETA, [0, 0, 0], [0, 0, 0]]):
        assert all(torch.equal(tensor, double(value)) for tensor in pair)
    assert tensors[3] == [1, 1]


@pytest.mark.parametrize("steps", [[0, 0], [torch.tensor(0.0), 0.0]], ids=["numbers", "one number"])
def test_adopt_function_wants_tensors_of_steps(steps):
    theta = [double(THETA), double(THETA)]
    tensors = [theta, *([double([0, 0, 0]), double([0, 0, 0])] for _ in "mv"), steps]
    with pytest.raises(RuntimeError, match="`state_steps` argument must contain a list of singleton"):
        adopt_call(tensors, GRADS[0], {})
    assert all(torch.equal(p, double(THETA)) for p in theta)


# ---- ADOPT's published checkpoints ----------------------------------------------------------------

FLAGS = {"maximize": False, "foreach": None, "capturable": False, "differentiable": False,
         "fused": None}  # fmt: skip


def published(case, **groups):
    """What a published version would have saved of a golden run after its second call."""
    _, thetas, firsts, seconds = ADOPT[case]
    state = {"step": torch.tensor(2.0), "exp_avg": double(firsts[1]), "exp_avg_sq": double(seconds[1])}
    group = {"lr": 1e-2, "betas": (0.9, 0.9999), "eps": 1e-6, "weight_decay": 0.0, **groups}
    return thetas[1], {"state": {0: state}, "param_groups": [{**group, "params": [0]}]}


def check_loaded(case, start, saved, **options):
    """The rest of the golden run, by an optimizer with other values until it has loaded."""
    parameter = torch.nn.Parameter(double(start))
    optimizer = optim.ADOPT([parameter], lr=0.5, eps=0.1, betas=(0.5, 0.5), **options)
    optimizer.load_state_dict(saved)
    for grad, theta in zip(GRADS[2:], ADOPT[case][1][2:], strict=True):
        parameter.grad = double(grad)
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), double(theta), **EXACT)
    assert optimizer.state[parameter]["step"] == 4
    return optimizer.param_groups[0]


@pytest.mark.parametrize("key", FLAGS)
def test_adopt_checkpoint_without_a_flag(key):
    flags = {k: v for k, v in FLAGS.items() if k != key}
    start, saved = published("default", decouple=False, **flags)
    assert check_loaded("default", start, saved)[key] == FLAGS[key]
    assert key not in saved["param_groups"][0]


@pytest.mark.parametrize("case, decoupled", [("L2", False), ("decouple", True)])
@pytest.mark.parametrize("key", ["decouple", "decoupled"])
@pytest.mark.parametrize("step", [2, torch.tensor(2.0)], ids=["number", "tensor"])
def test_adopt_checkpoint_of_either_key(case, decoupled, key, step):
    """Before 2024-11-21 the key was `decoupled`; the optimizer was made with the opposite."""
    start, saved = published(case, weight_decay=0.1, **{key: decoupled})
    saved["state"][0]["step"] = step
    group = check_loaded(case, start, saved, decouple=not decoupled)
    assert group["decouple"] is decoupled and "decoupled" not in group


def test_adopt_checkpoint_without_decouple():
    start, saved = published("L2", weight_decay=0.1)
    assert check_loaded("L2", start, saved)["decouple"] is False
