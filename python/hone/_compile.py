# SPDX-License-Identifier: Apache-2.0
"""Functions that torch.compile leaves alone: calls of the library, in which it could compile nothing."""

import torch


def outside_of_compilation(function):
    """Where torch.compile meets a call of the function it ends its graph, runs the call as it is, and goes
    on behind it. PyTorch's own decorator for that costs every call, compiled or not, more than all that a
    step does in Python; the mark here costs nothing."""
    try:
        from torch._C._dynamo import eval_frame

        skip = eval_frame._FrameAction.SKIP
        eval_frame.set_code_exec_strategy(
            function.__code__, eval_frame._FrameExecStrategy(skip, skip)
        )
    except (ImportError, AttributeError):  # an older PyTorch
        return torch.compiler.disable(function)
    function._torchdynamo_disable = True
    function._torchdynamo_disable_msg = "hone works outside of torch.compile"
    return function
