# SPDX-License-Identifier: Apache-2.0
"""libhone's C functions over torch tensors, as far as the benchmark needs them."""
import ctypes as C
import os

import torch

DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3, torch.int32: 7}
CPU, CUDA = 1, 2


class Error(C.Structure):
    _fields_ = [("status", C.c_int), ("offset", C.c_int64), ("message", C.c_char * 1024)]


class Tensor(C.Structure):
    _fields_ = [("data", C.c_void_p), ("dtype", C.c_int), ("device", C.c_int),
                ("device_index", C.c_int32), ("ndim", C.c_int32),
                ("shape", C.POINTER(C.c_int64)), ("strides", C.POINTER(C.c_int64))]


class Report(C.Structure):
    _fields_ = [("stepped", C.c_int64), ("total_norm", C.c_double), ("clip_coef", C.c_double),
                ("skipped", C.c_bool)]


lib = C.CDLL(os.environ.get("HONE_LIBRARY", "libhone.so.0"))
lib.hone_optimizer_device_bytes.restype = C.c_uint64
lib.hone_optimizer_state_bytes.restype = C.c_uint64


def check(status, error):
    if status != 0:
        raise RuntimeError(error.message.decode())


def view(tensor):
    shape = (C.c_int64 * max(1, tensor.dim()))(*tensor.shape)
    made = Tensor(tensor.data_ptr(), DTYPES[tensor.dtype], CUDA if tensor.is_cuda else CPU,
                  tensor.device.index or 0, tensor.dim(), C.cast(shape, C.POINTER(C.c_int64)), None)
    made.keep = (shape, tensor)
    return made


class Optimizer:
    """One group of a rule over CUDA parameters whose .grad is set."""

    def __init__(self, rule, params, state_dtype=None, clip=None, masks=None, **values):
        self.error, self.context = Error(), C.c_void_p()
        self.call("hone_context_create", C.byref(self.context), None)
        spec, self.handle = C.c_void_p(), C.c_void_p()
        self.call("hone_spec_create", C.byref(spec), self.context, rule.encode())
        for name, value in values.items():
            self.call("hone_spec_set", spec, 0, name.encode(), C.c_double(value))
        self.call("hone_optimizer_create", C.byref(self.handle), self.context, spec)
        lib.hone_spec_free(spec)
        if state_dtype is not None:
            self.call("hone_optimizer_set_state_dtype", self.handle, 0, None, DTYPES[state_dtype])
        if clip is not None:
            self.call("hone_optimizer_clip_norm", self.handle, C.c_double(clip), C.c_double(2), 0)
        self.params = list(params)
        for i, p in enumerate(self.params):
            self.call("hone_optimizer_add", self.handle, str(i).encode(), C.byref(view(p)), 0, None)
            self.call("hone_optimizer_set_grad", self.handle, C.c_int64(i), C.byref(view(p.grad)))
            if masks is not None:
                self.set_mask(i, p, masks[i])
        self.stream(torch.cuda.current_stream())
        self.step_function = lib.hone_optimizer_step

    def call(self, name, *arguments):
        check(getattr(lib, name)(*arguments, C.byref(self.error)), self.error)

    def set_mask(self, i, p, words):
        mask = C.c_void_p()
        given = view(p)
        bits = view(words)
        bits.dtype = 11  # U32
        self.call("hone_mask_from_words", C.byref(mask), self.context, given.ndim, given.shape,
                  C.byref(bits))
        self.call("hone_optimizer_set_mask", self.handle, C.c_int64(i), mask)
        lib.hone_mask_free(mask)

    def stream(self, stream):
        self.call("hone_optimizer_set_stream", self.handle, 0, C.c_void_p(stream.cuda_stream))

    def capturable(self, on=True):
        self.call("hone_optimizer_set_capturable", self.handle, C.c_bool(on))

    def bind_lr(self, tensor):
        self.call("hone_optimizer_bind_lr", self.handle, 0, C.byref(view(tensor)))

    def set(self, name, value):
        self.call("hone_optimizer_set", self.handle, 0, name.encode(), C.c_double(value))

    def prepare(self):
        self.call("hone_optimizer_prepare", self.handle)

    def step(self):
        if self.step_function(self.handle, None, C.byref(self.error)) != 0:
            raise RuntimeError(self.error.message.decode())

    def report(self):
        report = Report()
        self.call("hone_optimizer_step", self.handle, C.byref(report))
        return report

    def count(self, i=0):
        count = C.c_uint64()
        self.call("hone_optimizer_step_count", self.handle, C.c_int64(i), C.byref(count))
        return count.value

    def bytes(self):
        return (lib.hone_optimizer_state_bytes(self.handle),
                lib.hone_optimizer_device_bytes(self.handle, 0))

    def close(self):
        lib.hone_optimizer_free(self.handle)
        lib.hone_context_free(self.context)
