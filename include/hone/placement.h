/* SPDX-License-Identifier: Apache-2.0 */
/* Which group and learning rate each parameter of one or several models gets from a recipe, what of
 * the recipe reaches nothing, and an optimizer made of that:
 *
 *   hone_model model = {NULL, parameters, count};
 *   hone_placement_create(&placement, ctx, spec, &model, 1, &err);
 *   hone_optimizer_create_placed(&opt, placement, &err);
 *
 * A model is a list of named parameters; a module is what their names begin with, up to a dot. A
 * parameter that occurs twice, in one model or in two, is one parameter: two entries are the same
 * if address, dtype and shape are (without an address, if the name also is). Its first name counts
 * for everything but multipliers, which may come by any of its names. */
#ifndef HONE_PLACEMENT_H
#define HONE_PLACEMENT_H

#include <hone/optimizer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_table hone_table;

/* A parameter, or a hash table that the model looks rows up in: hone_filter_out_sparse separates
 * the two, since only parameters are placed. */
typedef struct hone_model_parameter {
    const char *name;
    hone_tensor tensor; /* data NULL: not there yet, which is enough to be placed */
    bool requires_grad;
    hone_table *table; /* NULL: a parameter; else tensor and requires_grad are not read */
} hone_model_parameter;

typedef struct hone_model {
    const char *prefix; /* put before every name with a dot; NULL or "": nothing */
    const hone_model_parameter *parameters;
    int64_t count;
} hone_model;

typedef struct hone_placement hone_placement;

/* Places all parameters. The spec is copied; shapes and data of the models are borrowed until
 * hone_placement_free. Errors: NAME (no name, or one name for two tensors: prefixes help), ARGUMENT
 * (a table among the parameters; a parameter that lies, by two of its names, in two modules with
 * unequal multipliers), SHAPE and DTYPE (a matrix rule cannot step it), RANGE (multipliers beyond a
 * double), MEMORY. */
HONE_API hone_status hone_placement_create(hone_placement **placement, const hone_context *context,
                                           const hone_spec *spec, const hone_model *models,
                                           int model_count, hone_error *error);
HONE_API void hone_placement_free(hone_placement *placement); /* NULL is accepted */

typedef struct hone_place {
    const char *name; /* the placement's */
    hone_tensor tensor;
    int group;
    double lr;           /* the group's "lr" times the multiplier */
    double multiplier;   /* of the group and the module */
    const char *module;  /* the module whose multiplier reaches it, or NULL; the placement's */
    bool module_ignored; /* and which does not count, since the group's rule steps matrices */
    bool left_out;       /* needs no gradient and is not registered: see below */
} hone_place;

/* Parameters in the order of the models, each once. One that needs no gradient is registered all
 * the same, in case that changes, unless a multiplier other than 1 or a matrix rule is in play, or
 * its dtype cannot be stepped. ARGUMENT for an index that does not exist. */
HONE_API int64_t hone_placement_count(const hone_placement *placement);
HONE_API hone_status hone_placement_at(const hone_placement *placement, int64_t index,
                                       hone_place *place, hone_error *error);

/* What in the recipe does not do what it seems to. None of it is an error. */
typedef enum hone_notice_kind {
    HONE_NOTICE_PATTERN,   /* `text`, a pattern of `group`, takes no parameter */
    HONE_NOTICE_EXCEPTION, /* `text`, an exception of `group`, matches no parameter; not of the
                              list of embeddings and heads */
    HONE_NOTICE_MODULE,    /* the multiplier of `text` reaches no parameter that needs gradients */
    HONE_NOTICE_MATRICES   /* the multiplier of `text` does not count for `count` matrices */
} hone_notice_kind;

typedef struct hone_notice {
    hone_notice_kind kind;
    const char *text; /* a pattern or a module; the placement's */
    int group;        /* of a pattern; else -1 */
    int64_t count;    /* parameters that a multiplier does not count for; else 0 */
} hone_notice;

/* The notices one by one: false when there are no more. Start with *index 0. */
HONE_API bool hone_placement_notice(const hone_placement *placement, int *index,
                                    hone_notice *notice);

/* An optimizer with the recipe's groups and the placed parameters, which then stay borrowed by it.
 * Errors: ARGUMENT if no parameter needs a gradient, and those of hone_optimizer_add. */
HONE_API hone_status hone_optimizer_create_placed(hone_optimizer **optimizer,
                                                  const hone_placement *placement,
                                                  hone_error *error);

#ifdef __cplusplus
}
#endif

#endif
