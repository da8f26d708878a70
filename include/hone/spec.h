/* SPDX-License-Identifier: Apache-2.0 */
/* A spec is a validated recipe: for each group its rule, hyperparameters and the parameter names it
 * takes, and for the whole step the clipping. JSON in, canonical JSON out. Example:
 *
 *   { "optimizer_type": "adamw", "learning_rate": 0.001, "betas": [0.9, 0.999],
 *     "clip_grad_norm": 1.0, "groups": [ {"match": "*.bias", "weight_decay": 0} ] }
 *
 * docs/spec.md lists every key. Group 0 is the recipe itself; the entries of "groups" follow, each
 * starting from group 0's values (or from its own rule's defaults when it names another
 * "optimizer_type"). */
#ifndef HONE_SPEC_H
#define HONE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hone/context.h>
#include <hone/rule.h>
#include <hone/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_spec hone_spec;

/* What is kept beside 16-bit parameters so that small updates are not rounded away. Parameters of
 * other types are not affected. JSON: "precision": "plain", "master", "stochastic" or "kahan". */
typedef enum hone_precision {
    HONE_PRECISION_PLAIN,      /* nothing: round to nearest (default) */
    HONE_PRECISION_MASTER,     /* state "master": an f32 copy, stepped in the parameter's place */
    HONE_PRECISION_STOCHASTIC, /* nothing, but round up or down at random: a function of the
                                  context's seed, the name, the step count and the element alone */
    HONE_PRECISION_KAHAN /* state "compensation": what rounding took, in the parameter's type */
} hone_precision;

/* A recipe of one group with the rule's defaults. Errors: NAME (with the nearest rule), MEMORY. The
 * caller frees it with hone_spec_free. The context is borrowed until then. */
HONE_API hone_status hone_spec_create(hone_spec **spec, const hone_context *context,
                                      const char *rule, hone_error *error);

/* Reads `length` bytes of JSON; the text is not kept. Errors: SPEC with the key's path in the
 * message and its offset in error->offset; MEMORY. */
HONE_API hone_status hone_spec_parse(hone_spec **spec, const hone_context *context,
                                     const char *json, size_t length, hone_error *error);
HONE_API void hone_spec_free(hone_spec *spec); /* NULL is accepted */

/* Canonical JSON in one line: keys sorted, numbers in the shortest form that reads back to the same
 * double, values equal to the default left out except learning_rate; a group holds its patterns and
 * what differs from what it starts from. parse(write(s)) equals s and write is a fixed point. The
 * string is the caller's, released with hone_string_free. Errors: UNSUPPORTED for a curve computed
 * by a callback, which JSON cannot hold; MEMORY. */
HONE_API hone_status hone_spec_write(const hone_spec *spec, char **json, hone_error *error);
HONE_API void hone_string_free(const hone_context *context, char *string); /* NULL is accepted */

/* The optimizer specifications AdamSpec, AdamWSpec and MuonSpec: `name` is "adam", "adamw" or
 * "muon", and `json` their fields, of which "optimizer_type" may be left out. "muon" always means
 * Muon beside AdamW here: group 0 is AdamW and has what group 1, Muon, does not take. Errors: NAME,
 * and those of hone_spec_parse. */
HONE_API hone_status hone_spec_from_serialized(hone_spec **spec, const hone_context *context,
                                               const char *name, const char *json, size_t length,
                                               hone_error *error);

/* The other way round: all fields of the specification in their order, then what else differs from
 * its default; `name` (may be NULL) receives a constant. Reading it again gives the same spec.
 * Errors: UNSUPPORTED for a recipe of another rule and for callbacks, MEMORY. */
HONE_API hone_status hone_spec_to_dict(const hone_spec *spec, const char **name, char **json,
                                       hone_error *error);

HONE_API int hone_spec_group_count(const hone_spec *spec);
HONE_API const hone_rule *hone_spec_group_rule(const hone_spec *spec, int group);

/* Values by hyperparameter name; flags are 0 or 1. Errors: ARGUMENT (no such group; a curve for a
 * number), NAME (with the nearest known name), RANGE (also for a value that does not fit the
 * group's others, as nesterov without momentum, so set those first). A number given to a curve is a
 * constant, an infinite one none at all; a curve whose power is not 0 is read by get_curve only. */
HONE_API hone_status hone_spec_get(const hone_spec *spec, int group, const char *hyper,
                                   double *value, hone_error *error);
HONE_API hone_status hone_spec_set(hone_spec *spec, int group, const char *hyper, double value,
                                   hone_error *error);
/* Beside the rule's own names, "masked_lr" is the learning rate of elements under a mask (NaN: the
 * same as "lr", the default) and "unmasked_lr" another name for "lr". */
HONE_API hone_status hone_spec_set_curve(hone_spec *spec, int group, const char *hyper,
                                         double scale, double power, hone_error *error);
HONE_API hone_status hone_spec_get_curve(const hone_spec *spec, int group, const char *hyper,
                                         double *scale, double *power, hone_error *error);

/* A matrix rule's own Newton-Schulz coefficients: step k uses triple k, later ones the last. Sets
 * "ns_coefficients" to "custom"; `count` is 1 to 16. Errors: ARGUMENT, NAME (a rule without them),
 * RANGE. */
HONE_API hone_status hone_spec_set_coefficients(hone_spec *spec, int group,
                                                const double (*triples)[3], int count,
                                                hone_error *error);

/* Appends a group that takes the parameters matching `pattern` (a shell glob as of POSIX fnmatch,
 * in UTF-8; NULL: none by name). `rule` NULL copies group 0's values. The index of the new group is
 * written to `group` (may be NULL). Errors: NAME, ARGUMENT, MEMORY. */
HONE_API hone_status hone_spec_add_group(hone_spec *spec, const char *rule, const char *pattern,
                                         int *group, hone_error *error);

/* The group that takes a parameter of this name and number of dimensions: the last one with a
 * pattern that matches, no exception that does, and no more dimensions asked for; else 0. */
HONE_API int hone_spec_match(const hone_spec *spec, const char *name, int32_t ndim);

/* Patterns of a group and their exceptions ("match" and "except"), index 0 upward; NULL past the
 * end. The string is the spec's. */
HONE_API const char *hone_spec_group_pattern(const hone_spec *spec, int group, int index);
HONE_API const char *hone_spec_group_except(const hone_spec *spec, int group, int index);
HONE_API int hone_spec_group_min_ndim(const hone_spec *spec, int group); /* "min_ndim" */

/* The patterns that match none of `count` names, one per call: NULL when there are no more. Start
 * with *group and *index 0 and hand both back in; after a call *group is the group of the pattern
 * that was returned. A pattern whose matches all went to a later group is not reported. A placement
 * (placement.h) knows more: numbers of dimensions, exceptions, modules.
 *
 *   int group = 0, index = 0;
 *   const char *pattern;
 *   while ((pattern = hone_spec_unmatched(spec, names, count, &group, &index)) != NULL)
 *       printf("group %d: \"%s\" matches no parameter\n", group, pattern); */
HONE_API const char *hone_spec_unmatched(const hone_spec *spec, const char *const *names,
                                         int64_t count, int *group, int *index);

HONE_API hone_status hone_spec_set_precision(hone_spec *spec, int group, hone_precision precision,
                                             hone_error *error);
HONE_API hone_status hone_spec_get_precision(const hone_spec *spec, int group,
                                             hone_precision *precision, hone_error *error);

/* The file of masks that the recipe names ("masks" in JSON), or NULL: for programs that load it, as
 * the hone command does; the library opens nothing by itself. The string is the spec's. NULL or ""
 * takes the name away. Errors: ARGUMENT for text that is not UTF-8, MEMORY. */
HONE_API const char *hone_spec_masks(const hone_spec *spec);
HONE_API hone_status hone_spec_set_masks(hone_spec *spec, const char *path, hone_error *error);

/* Multiplies the learning rate of all parameters of a module, that is whose name is `module`
 * or begins with it and a dot ("lr_multipliers" in JSON). The longest such module counts, and
 * only for rules that step elements: a matrix rule's rate is its own. A module given again
 * gets the new value. Errors: ARGUMENT for a name that is empty or not UTF-8, RANGE unless
 * finite and >= 0, MEMORY. */
HONE_API hone_status hone_spec_set_lr_multiplier(hone_spec *spec, const char *module,
                                                 double multiplier, hone_error *error);

/* The modules with a multiplier in the order of their names, index 0 upward; NULL past the end. The
 * string is the spec's; `multiplier` may be NULL. */
HONE_API const char *hone_spec_lr_module(const hone_spec *spec, int index, double *multiplier);

/* The group's "lr_multiplier", by which its parameters' learning rate is multiplied; default 1. */
HONE_API hone_status hone_spec_group_multiplier(const hone_spec *spec, int group, double *value,
                                                hone_error *error);

#ifdef __cplusplus
}
#endif

#endif
