/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint that PyTorch wrote, as a tree: a model's state with its attributes left out, an
 * optimizer's with its tensors and settings, and numbers of every size. */
#include "checkpoint/mapped_file.h"
#include "checkpoint/pt_file.h"
#include "unit/mask_model.h"

#define CHECKPOINT HONE_SOURCE_DIR "/tests/golden/pt/optimizer.pt"

static const void *bytes;
static size_t size;
static struct hone_pt pt;

static int setup_tree(void **state)
{
    if (setup(state) != 0 || hone_map_file(&bytes, &size, CHECKPOINT, NULL) != HONE_OK)
        return -1;
    return hone_pt_read(&pt, context, bytes, size, 1 << 20, NULL);
}

static int teardown_tree(void **state)
{
    hone_pt_release(&pt);
    hone_unmap_file(bytes, size);
    return teardown(state);
}

static const struct hone_node *get(const struct hone_node *node, const char *key)
{
    const struct hone_node *const found = hone_node_get(node, key);
    assert_non_null(found);
    return found;
}

/* The value under an integer key. */
static const struct hone_node *get_numbered(const struct hone_node *node, int64_t key)
{
    assert_int_equal(node->kind, HONE_NODE_DICT);
    for (size_t i = 0; i < node->as.items.count; i += 2)
        if (node->as.items.at[i]->kind == HONE_NODE_INTEGER &&
            node->as.items.at[i]->as.integer == key)
            return node->as.items.at[i + 1];
    fail_msg("no key %d", (int)key);
    return NULL;
}

static void assert_floats(const struct hone_node *node, int32_t ndim, const int64_t *shape,
                          const float *values)
{
    assert_int_equal(node->kind, HONE_NODE_TENSOR);
    const hone_tensor *const tensor = &node->as.tensor;
    assert_int_equal(tensor->dtype, HONE_F32);
    assert_int_equal(tensor->ndim, ndim);
    for (int32_t d = 0; d < ndim; d++)
        assert_int_equal(tensor->shape[d], shape[d]);
    assert_memory_equal(tensor->data, values, (size_t)hone_tensor_numel(tensor) * sizeof *values);
}

static void scalars(void **state)
{
    (void)state;
    assert_int_equal(get(pt.root, "epoch")->as.integer, 70000);
    assert_true(get(pt.root, "loss")->as.number == -0.5);
    assert_true(hone_node_is_string(get(pt.root, "note"), "r\xc3\xa9sum\xc3\xa9"));
    assert_null(hone_node_get(pt.root, "missing"));
    static const int64_t big[] = {INT64_C(1) << 31, -(INT64_C(1) << 31) - 1, -1, INT64_MAX};
    const struct hone_node *const list = get(pt.root, "big");
    assert_int_equal(list->as.items.count, LENGTH(big));
    for (int i = 0; i < LENGTH(big); i++)
        assert_true(list->as.items.at[i]->kind == HONE_NODE_INTEGER &&
                    list->as.items.at[i]->as.integer == big[i]);
    const struct hone_node *const dtypes = get(pt.root, "dtypes");
    assert_int_equal(dtypes->as.items.at[0]->as.dtype, HONE_BF16);
    assert_int_equal(dtypes->as.items.at[1]->as.dtype, HONE_BOOL);
}

static void the_model(void **state)
{
    (void)state;
    const struct hone_node *const model = get(pt.root, "model_state_dict");
    assert_int_equal(model->as.items.count, 4); /* two pairs: _metadata is an attribute, no entry */
    assert_int_equal(get(model, "weight")->as.tensor.shape[1], 3);
    const struct hone_node *const parameter = get(pt.root, "parameter");
    assert_ptr_equal(parameter->as.tensor.data, get(model, "bias")->as.tensor.data);
}

static void the_optimizer(void **state)
{
    (void)state;
    const struct hone_node *const optimizer = get(pt.root, "optimizer_state_dict");
    const struct hone_node *const states = get(optimizer, "state");
    static const int64_t shape[] = {2, 3};
    static const float two = 2, average[] = {.75f, .75f, .75f, .75f, .75f, .75f};
    static const float bias_average[] = {1.5f, -3};
    assert_floats(get(get_numbered(states, 0), "step"), 0, NULL, &two);
    assert_floats(get(get_numbered(states, 0), "exp_avg"), 2, shape, average);
    assert_floats(get(get_numbered(states, 1), "exp_avg"), 1, shape, bias_average);
    const struct hone_node *const groups = get(optimizer, "param_groups");
    assert_int_equal(groups->kind, HONE_NODE_LIST);
    const struct hone_node *const group = groups->as.items.at[0];
    assert_true(get(group, "lr")->as.number == 0.25);
    assert_int_equal(get(group, "betas")->kind, HONE_NODE_TUPLE);
    assert_true(get(group, "betas")->as.items.at[1]->as.number == 0.75);
    assert_int_equal(get(group, "foreach")->kind, HONE_NODE_NONE);
    assert_int_equal(get(group, "amsgrad")->kind, HONE_NODE_BOOL);
    assert_int_equal(get(group, "amsgrad")->as.integer, 0);
    assert_int_equal(get(group, "params")->as.items.count, 2);
}

/* Nothing is copied: tensors lie in the file. */
static void tensors_are_borrowed(void **state)
{
    (void)state;
    const struct hone_node *const weight = get(get(pt.root, "model_state_dict"), "weight");
    const char *const data = weight->as.tensor.data;
    assert_true(data > (const char *)bytes && data + 24 <= (const char *)bytes + size);
    hone_mask_set *set = NULL;
    assert_refused(
        hone_mask_set_read(&set, context, bytes, size, NULL, &error), HONE_ERROR_FORMAT,
        "the file has neither 'masks' nor 'intersection_masks', and its entry 'epoch' is "
        "an integer, not a mask");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(the_model),
        cmocka_unit_test(the_optimizer),
        cmocka_unit_test(tensors_are_borrowed),
    };
    return cmocka_run_group_tests(tests, setup_tree, teardown_tree);
}
