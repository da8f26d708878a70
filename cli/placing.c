/* SPDX-License-Identifier: Apache-2.0 */
/* Placing the tensors of a file. */
#include "placing.h"

#include <stdlib.h>

#include "command.h"
#include "report.h"
#include "terminal/text.h"

static bool is_steppable(hone_dtype dtype)
{
    return dtype == HONE_F32 || dtype == HONE_F64 || dtype == HONE_BF16 || dtype == HONE_F16 ||
           dtype == HONE_C64 || dtype == HONE_C128;
}

int place_file(hone_placement **placement, const hone_context *context, const hone_spec *spec,
               const hone_file *file, const hone_file *grads)
{
    const int64_t count = hone_file_count(file);
    hone_model_parameter *const parameters = text_allocate((size_t)count * sizeof *parameters);
    for (int64_t i = 0; i < count; i++) {
        parameters[i] = (hone_model_parameter){.name = hone_file_name(file, i)};
        hone_file_tensor(file, i, &parameters[i].tensor, NULL);
        parameters[i].tensor.data = NULL; /* tensors of a file are never the same */
        parameters[i].requires_grad = grads == NULL
                                          ? is_steppable(parameters[i].tensor.dtype)
                                          : hone_file_find(grads, parameters[i].name) >= 0;
    }
    const hone_model model = {NULL, parameters, count};
    hone_error error;
    const hone_status status = hone_placement_create(placement, context, spec, &model, 1, &error);
    free(parameters);
    return status == HONE_OK ? EXIT_DONE : report_error(&error);
}

void warn_of_notices(const hone_placement *placement)
{
    int index = 0;
    hone_notice notice;
    while (hone_placement_notice(placement, &index, &notice))
        switch (notice.kind) {
        case HONE_NOTICE_PATTERN:
            report_warning("the pattern \"%s\" of group %d matches no parameter", notice.text,
                           notice.group);
            break;
        case HONE_NOTICE_EXCEPTION:
            report_warning("the exception \"%s\" of group %d matches no parameter", notice.text,
                           notice.group);
            break;
        case HONE_NOTICE_MODULE:
            report_warning("the multiplier of \"%s\" reaches no parameter", notice.text);
            break;
        case HONE_NOTICE_MATRICES:
            report_warning("the multiplier of \"%s\" does not count for %lld of its parameters, "
                           "which are stepped as matrices",
                           notice.text, (long long)notice.count);
            break;
        }
}
