/* SPDX-License-Identifier: Apache-2.0 */
/* What a call can answer. Every function that can fail returns a hone_status and takes, last, an
 * optional hone_error owned by the caller, which receives one sentence: the thing, what was found,
 * what was allowed. The library never prints, never aborts and keeps no error of its own.
 *
 * NULL where an object or a place for an answer is needed is such an error too:
 * HONE_ERROR_ARGUMENT. Functions that take no hone_error answer as they do for nothing, with NULL,
 * 0 or false, -1 where they look something up, and 1 for a factor; those that return nothing, among
 * them all *_free, do nothing. Where NULL means something, the function's own words say what. */
#ifndef HONE_STATUS_H
#define HONE_STATUS_H

#include <stdint.h>

#include <hone/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* (name, code, text). One list makes the enum, hone_status_name() and hone_status_text(). */
#define HONE_STATUS_MAP(X)                                                      \
    X(OK, 0, "success")                                                         \
    X(ERROR_ARGUMENT, -1, "an argument is invalid")                             \
    X(ERROR_SHAPE, -2, "shapes or strides do not fit")                          \
    X(ERROR_DTYPE, -3, "a data type does not fit")                              \
    X(ERROR_RANGE, -4, "a value is out of range")                               \
    X(ERROR_NAME, -5, "a name is unknown or taken")                             \
    X(ERROR_SPEC, -6, "a specification is invalid")                             \
    X(ERROR_FORMAT, -7, "a file is not well formed")                            \
    X(ERROR_IO, -8, "reading or writing failed")                                \
    X(ERROR_MEMORY, -9, "out of memory")                                        \
    X(ERROR_UNSUPPORTED, -10, "not available in this build or on this machine") \
    X(ERROR_NONFINITE, -11, "a sum is NaN or infinite")                         \
    X(ERROR_CLOSURE, -12, "the caller's closure failed")                        \
    X(ERROR_MISMATCH, -13, "a checkpoint does not fit the optimizer")           \
    X(ERROR_DEVICE, -14, "a device failed")

typedef enum hone_status {
#define HONE_STATUS_ENUM(name, code, text) HONE_##name = code,
    HONE_STATUS_MAP(HONE_STATUS_ENUM)
#undef HONE_STATUS_ENUM
} hone_status;

#define HONE_ERROR_MESSAGE_SIZE 1024

/* Filled only when a call fails; may be left uninitialised before. */
typedef struct hone_error {
    hone_status status;
    int64_t offset; /* byte offset into the JSON text or file the message speaks of; -1 if none */
    char message[HONE_ERROR_MESSAGE_SIZE]; /* always terminated; cut with "..." when too long */
} hone_error;

/* "HONE_ERROR_RANGE", or "HONE_ERROR_UNKNOWN" for a number that is no status. Static strings. */
HONE_API const char *hone_status_name(hone_status status);
HONE_API const char *hone_status_text(hone_status status);

#ifdef __cplusplus
}
#endif

#endif
