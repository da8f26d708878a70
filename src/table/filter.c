/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and dense parameters of a model, separated. */
#include <string.h>

#include "table/table_internal.h"

/* The entry at which the model names this entry's table first; the entry itself for a dense one. */
static int64_t first_of(const hone_model *model, int64_t index)
{
    const hone_table *const table = model->parameters[index].table;
    for (int64_t i = 0; table != NULL && i < index; i++)
        if (model->parameters[i].table == table)
            return i;
    return index;
}

static hone_status check_entry(const hone_model *model, int64_t index, hone_error *error)
{
    const hone_model_parameter *const entry = &model->parameters[index];
    if (entry->name == NULL || *entry->name == '\0')
        return hone_fail(error, HONE_ERROR_NAME, "parameter %lld of the model has no name",
                         (long long)index);
    for (int64_t i = 0; entry->table != NULL && i < index; i++) {
        const hone_model_parameter *const other = &model->parameters[i];
        if (other->table != NULL && other->table != entry->table &&
            strcmp(other->table->name, entry->table->name) == 0)
            return hone_fail(error, HONE_ERROR_NAME,
                             "the tables at \"%.120s\" and \"%.120s\" are both called \"%.120s\"",
                             other->name, entry->name, entry->table->name);
    }
    return HONE_OK;
}

static hone_status check_model(const hone_model *model, const int64_t *table_count,
                               const int64_t *dense_count, hone_error *error)
{
    if (model == NULL || table_count == NULL || dense_count == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         model == NULL         ? "model"
                         : table_count == NULL ? "table_count"
                                               : "dense_count");
    if (model->count < 0 || (model->count > 0 && model->parameters == NULL))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "the model has %lld parameters, listed at %s",
                         (long long)model->count,
                         model->parameters == NULL ? "NULL" : "an address");
    hone_status status = HONE_OK;
    for (int64_t i = 0; status == HONE_OK && i < model->count; i++)
        status = check_entry(model, i, error);
    return status;
}

hone_status hone_filter_out_sparse(const hone_model *model, hone_table **tables,
                                   int64_t *table_count, hone_model_parameter *dense,
                                   int64_t *dense_count, hone_error *error)
{
    const hone_status status = check_model(model, table_count, dense_count, error);
    if (status != HONE_OK)
        return status;
    *table_count = *dense_count = 0;
    for (int64_t i = 0; i < model->count; i++) {
        const hone_model_parameter *const entry = &model->parameters[i];
        if (first_of(model, i) != i)
            continue;
        if (entry->table == NULL) {
            if (dense != NULL)
                dense[*dense_count] = *entry;
            (*dense_count)++;
        } else {
            if (tables != NULL)
                tables[*table_count] = entry->table;
            (*table_count)++;
        }
    }
    return HONE_OK;
}
