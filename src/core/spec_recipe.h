/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of a spec's objects share: the object being read, and the readers of its members. */
#ifndef HONE_CORE_SPEC_RECIPE_H
#define HONE_CORE_SPEC_RECIPE_H

#include "core/spec_keys.h"
#include "core/spec_reader.h"

/* One object that describes a group: the top level (group 0, `at` NULL) or an entry of "groups". */
struct hone_recipe {
    struct hone_spec_reader *reader;
    const struct hone_json_place *at;
    json_t *object;
    int group;
    struct hone_spec_keys keys;
    const char *set_by[HONE_MAX_HYPERS]; /* the key that gave each hyperparameter; NULL: none yet */
    const char *schedule_by;             /* likewise, the key that gave the schedule */
};

struct hone_group *hone_recipe_group(const struct hone_recipe *recipe);

/* A member of any kind but "optimizer_type", "groups" and "split". */
hone_status hone_read_member(struct hone_recipe *recipe, const struct hone_json_place *at,
                             json_t *value, const struct hone_spec_key *key);

/* The rule's values: hyperparameters under any spelling; storage of its states. */
hone_status hone_read_hypers(struct hone_recipe *recipe, const struct hone_json_place *at,
                             json_t *json, const struct hone_spec_key *key);
hone_status hone_read_state_dtype(struct hone_recipe *recipe, const struct hone_json_place *at,
                                  json_t *value);

/* A glob or a list of globs, in place of those in `globs`. */
hone_status hone_read_globs(const struct hone_spec_reader *reader, const struct hone_json_place *at,
                            json_t *value, struct hone_globs *globs);

/* A member by name, with its place; NULL if there is none. */
json_t *hone_find_member(json_t *object, const struct hone_json_place *at, const char *name,
                         struct hone_json_place *found);

/* Refuses with a rule's complaint about its values. Where that begins with a hyperparameter's name that
 * `object` gives, it is said of that member. */
hone_status hone_refuse_values(const struct hone_spec_reader *reader,
                               const struct hone_json_place *at, json_t *object,
                               const char *complaint);

/* The short form of Muon beside AdamW (spec_muon.c): whether an object whose type is "muon" has it;
 * reading all of it but "groups". */
bool hone_is_muon_spec(json_t *root);
hone_status hone_read_muon_spec(struct hone_spec_reader *reader, const hone_context *context,
                                json_t *root);

#endif
