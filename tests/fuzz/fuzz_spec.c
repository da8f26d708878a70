/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target for the spec reader: whatever it accepts must be written, read again and written
 * alike; whatever it refuses must have a place and a sentence. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_spec: %s\n", what);
    abort();
}

static void check_refusal(const hone_error *error, size_t size)
{
    require(error->status == HONE_ERROR_SPEC, "a refusal is not HONE_ERROR_SPEC");
    require(error->offset >= 0 && (size_t)error->offset <= size, "an offset is outside the text");
    require(error->message[0] != '\0', "a refusal has no sentence");
    for (const char *at = error->message; *at != '\0'; at++)
        require((unsigned char)*at >= 0x20 && *at != 0x7f, "a sentence holds control characters");
}

static void check_accepted(const hone_context *context, const hone_spec *spec)
{
    hone_spec *again = NULL;
    char *first = NULL, *second = NULL;
    require(hone_spec_write(spec, &first, NULL) == HONE_OK, "an accepted spec is not written");
    require(hone_spec_parse(&again, context, first, strlen(first), NULL) == HONE_OK,
            "a written spec is not accepted");
    require(hone_spec_write(again, &second, NULL) == HONE_OK, "a spec is written only once");
    require(strcmp(first, second) == 0, "the canonical form is not its own");
    require(hone_spec_match(again, "body.bias") == hone_spec_match(spec, "body.bias"),
            "a written spec matches another group");
    hone_string_free(context, first);
    hone_string_free(context, second);
    hone_spec_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hone_context *context; /* one for all inputs; the process's end takes it */
    if (context == NULL)
        require(hone_context_create(&context, NULL, NULL) == HONE_OK, "there is no context");
    hone_spec *spec = NULL;
    hone_error error;
    if (hone_spec_parse(&spec, context, (const char *)data, size, &error) == HONE_OK)
        check_accepted(context, spec);
    else
        check_refusal(&error, size);
    hone_spec_free(spec);
    return 0;
}
