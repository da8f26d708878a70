/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target for the spec reader: whatever it accepts must be written, read again and written
 * alike, also as the fields of a specification, and place parameters; whatever it refuses must have a
 * place and a sentence. */
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

/* What has the form of a specification is the same spec through it. */
static void check_dict(const hone_context *context, const hone_spec *spec, const char *canonical)
{
    hone_spec *again = NULL;
    const char *name = NULL;
    char *dict = NULL, *text = NULL;
    const hone_status status = hone_spec_to_dict(spec, &name, &dict, NULL);
    require(status == HONE_OK || status == HONE_ERROR_UNSUPPORTED,
            "a specification is not written");
    if (status != HONE_OK)
        return;
    require(hone_spec_from_serialized(&again, context, name, dict, strlen(dict), NULL) == HONE_OK,
            "a written specification is not accepted");
    require(hone_spec_write(again, &text, NULL) == HONE_OK, "it is not written again");
    require(strcmp(text, canonical) == 0, "a specification is not exact");
    hone_string_free(context, dict);
    hone_string_free(context, text);
    hone_spec_free(again);
}

/* Nothing of what a spec says may break the placing of parameters. */
static void check_placement(const hone_context *context, const hone_spec *spec)
{
    static const int64_t shape[] = {2, 3, 4};
    static const char *const names[] = {"head.weight", "head.bias", "transformer.conv", "x"};
    hone_model_parameter list[4];
    for (int i = 0; i < 4; i++)
        list[i] = (hone_model_parameter){
            names[i], hone_tensor_view(NULL, HONE_F32, i == 3 ? 0 : 1 + i, shape), i != 1, NULL};
    const hone_model model = {NULL, list, 4};
    hone_placement *placement = NULL;
    hone_error error;
    const hone_status status = hone_placement_create(&placement, context, spec, &model, 1, &error);
    require(status == HONE_OK || status == HONE_ERROR_SHAPE || status == HONE_ERROR_RANGE,
            "a placement failed");
    int index = 0;
    hone_notice notice;
    while (hone_placement_notice(placement, &index, &notice))
        require(notice.text != NULL, "a notice has no text");
    for (int64_t i = 0; i < hone_placement_count(placement); i++) {
        hone_place place;
        require(hone_placement_at(placement, i, &place, NULL) == HONE_OK, "a place is missing");
        require(place.group < hone_spec_group_count(spec), "a group does not exist");
    }
    hone_placement_free(placement);
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
    require(hone_spec_match(again, "body.bias", 1) == hone_spec_match(spec, "body.bias", 1),
            "a written spec matches another group");
    check_dict(context, spec, first);
    check_placement(context, spec);
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
