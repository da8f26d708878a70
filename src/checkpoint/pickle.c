/* SPDX-License-Identifier: Apache-2.0 */
/* The pickle machine: a stack, a memo and the opcodes that protocol 2 needs for these files. Every
 * opcode makes at most one node and every container is sealed once it is part of another value, so
 * memory grows with the pickle's length, nothing can hold itself, and depth is known at once. */
#include "checkpoint/pickle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/text.h"

#define PROTOCOL 2
#define FIRST_CAPACITY 64

/* ---- errors --------------------------------------------------------------------------------- */

hone_status hone_pickle_fail(struct hone_pickle *pickle, const char *format, ...)
{
    char text[HONE_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return hone_fail_at(pickle->error, HONE_ERROR_FORMAT, (int64_t)pickle->opcode,
                        "the pickle, byte %zu: %s", pickle->opcode, text);
}

static hone_status fail_memory(struct hone_pickle *pickle)
{
    return hone_arena_fail(pickle->arena, "the values of a pickle", pickle->error);
}

struct hone_pickle_text hone_pickle_show(const char *bytes, size_t length)
{
    char copy[HONE_SHOWN_SIZE + 8]; /* longer than what is shown: hone_show cuts it */
    if (length > sizeof copy - 1)
        length = sizeof copy - 1;
    for (size_t i = 0; i < length; i++)
        copy[i] = bytes[i] == '\0' ? '\x01' : bytes[i];
    copy[length] = '\0';
    const struct hone_shown shown = hone_show(copy);
    struct hone_pickle_text result;
    snprintf(result.text, sizeof result.text, "%s", shown.text);
    return result;
}

const char *hone_node_kind_name(enum hone_node_kind kind)
{
    static const char *const names[] = {
        [HONE_NODE_NONE] = "None",
        [HONE_NODE_BOOL] = "a bool",
        [HONE_NODE_INTEGER] = "an integer",
        [HONE_NODE_NUMBER] = "a float",
        [HONE_NODE_STRING] = "a string",
        [HONE_NODE_TUPLE] = "a tuple",
        [HONE_NODE_LIST] = "a list",
        [HONE_NODE_SIZE] = "a torch.Size",
        [HONE_NODE_DICT] = "a dictionary",
        [HONE_NODE_DTYPE] = "a torch.dtype",
        [HONE_NODE_TENSOR] = "a tensor",
        [HONE_NODE_SPARSE] = "a sparse tensor",
        [HONE_NODE_LAYOUT] = "a torch.layout",
        [HONE_NODE_FUNCTION] = "a function",
        [HONE_NODE_STORAGE_TYPE] = "a storage type",
        [HONE_NODE_STORAGE] = "a storage",
    };
    return names[kind];
}

/* ---- the stack and the memo ----------------------------------------------------------------- */

struct hone_node *hone_pickle_node(struct hone_pickle *pickle, enum hone_node_kind kind)
{
    struct hone_node *const node = hone_arena_allocate(pickle->arena, sizeof *node);
    if (node == NULL)
        fail_memory(pickle);
    else
        *node = (struct hone_node){.kind = kind};
    return node;
}

/* A NULL node is a mark. */
static hone_status push(struct hone_pickle *pickle, struct hone_node *node)
{
    if (pickle->depth == pickle->stack_capacity) {
        const size_t capacity =
            pickle->stack_capacity == 0 ? FIRST_CAPACITY : 2 * pickle->stack_capacity;
        struct hone_node **const stack = hone_arena_grow(
            pickle->arena, pickle->stack, pickle->depth * sizeof *stack, capacity * sizeof *stack);
        if (stack == NULL)
            return fail_memory(pickle);
        pickle->stack = stack;
        pickle->stack_capacity = capacity;
    }
    pickle->stack[pickle->depth++] = node;
    return HONE_OK;
}

/* Pushes a node that was just made, NULL when there was no memory for it. */
static hone_status push_new(struct hone_pickle *pickle, struct hone_node *node)
{
    return node == NULL ? HONE_ERROR_MEMORY : push(pickle, node);
}

/* The top `count` values, which are not marks; they stay on the stack. */
static hone_status top(struct hone_pickle *pickle, size_t count, struct hone_node ***values)
{
    bool marked = pickle->depth < count;
    for (size_t i = 0; i < count && !marked; i++)
        marked = pickle->stack[pickle->depth - 1 - i] == NULL;
    if (marked)
        return hone_pickle_fail(pickle,
                                "the opcode needs %zu value%s on the stack; there are fewer", count,
                                count == 1 ? "" : "s");
    *values = pickle->stack + (pickle->depth - count);
    return HONE_OK;
}

/* The values above the topmost mark. */
static hone_status above_mark(struct hone_pickle *pickle, struct hone_node ***values, size_t *count)
{
    size_t mark = pickle->depth;
    while (mark > 0 && pickle->stack[mark - 1] != NULL)
        mark--;
    if (mark == 0)
        return hone_pickle_fail(pickle, "the opcode needs a mark on the stack; there is none");
    *values = pickle->stack + mark;
    *count = pickle->depth - mark;
    return HONE_OK;
}

static hone_status memo_put(struct hone_pickle *pickle, uint32_t index)
{
    struct hone_node **value = NULL;
    const hone_status status = top(pickle, 1, &value);
    if (status != HONE_OK)
        return status;
    if (index >= pickle->size) /* each entry takes two bytes at least and they are counted up */
        return hone_pickle_fail(pickle,
                                "memo entry %" PRIu32 " is used; a pickle of %zu bytes has fewer",
                                index, pickle->size);
    if (index >= pickle->memo_capacity) {
        size_t capacity = pickle->memo_capacity == 0 ? FIRST_CAPACITY : 2 * pickle->memo_capacity;
        if (capacity <= index)
            capacity = (size_t)index + 1;
        struct hone_node **const memo =
            hone_arena_grow(pickle->arena, pickle->memo, pickle->memo_capacity * sizeof *memo,
                            capacity * sizeof *memo);
        if (memo == NULL)
            return fail_memory(pickle);
        memset(memo + pickle->memo_capacity, 0, (capacity - pickle->memo_capacity) * sizeof *memo);
        pickle->memo = memo;
        pickle->memo_capacity = capacity;
    }
    pickle->memo[index] = value[0];
    return HONE_OK;
}

static hone_status memo_get(struct hone_pickle *pickle, uint32_t index)
{
    if (index >= pickle->memo_capacity || pickle->memo[index] == NULL)
        return hone_pickle_fail(pickle, "memo entry %" PRIu32 " is read before it is written",
                                index);
    return push(pickle, pickle->memo[index]);
}

/* ---- containers ----------------------------------------------------------------------------- */

static bool can_be_key(const struct hone_node *node)
{
    return node->kind <= HONE_NODE_STRING;
}

/* Appends values to a container that is still open, and seals them. */
static hone_status append(struct hone_pickle *pickle, struct hone_node *container,
                          struct hone_node **values, size_t count)
{
    struct hone_node_items *const items = &container->as.items;
    if (items->count + count > items->capacity) {
        size_t capacity = 2 * items->capacity;
        if (capacity < items->count + count)
            capacity = items->count + count;
        struct hone_node **const at = hone_arena_grow(
            pickle->arena, items->at, items->count * sizeof *at, capacity * sizeof *at);
        if (at == NULL)
            return fail_memory(pickle);
        items->at = at;
        items->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++) {
        struct hone_node *const value = values[i];
        value->sealed = true;
        items->at[items->count++] = value;
        if (container->depth <= value->depth)
            container->depth = value->depth + 1;
    }
    if (container->sealed)
        return hone_pickle_fail(pickle,
                                "%s is changed after it became part of another value, or of itself",
                                hone_node_kind_name(container->kind));
    if (container->depth >= HONE_PICKLE_MAX_DEPTH)
        return hone_pickle_fail(pickle, "values are nested more than %d deep",
                                HONE_PICKLE_MAX_DEPTH);
    return HONE_OK;
}

/* Appends the top `count` values to the container below them (and below `marks` marks). */
static hone_status extend(struct hone_pickle *pickle, enum hone_node_kind kind,
                          struct hone_node **values, size_t count, size_t marks)
{
    const size_t below = pickle->depth - count - marks;
    struct hone_node *const container = below == 0 ? NULL : pickle->stack[below - 1];
    if (container == NULL || container->kind != kind)
        return hone_pickle_fail(pickle, "values are added to %s; this opcode adds to %s",
                                container == NULL ? "nothing"
                                                  : hone_node_kind_name(container->kind),
                                hone_node_kind_name(kind));
    if (kind == HONE_NODE_DICT && count % 2 != 0)
        return hone_pickle_fail(pickle, "a dictionary is given a key without a value");
    for (size_t i = 0; kind == HONE_NODE_DICT && i < count; i += 2)
        if (!can_be_key(values[i]))
            return hone_pickle_fail(pickle,
                                    "a key of a dictionary is %s; allowed: strings, "
                                    "numbers, bools and None",
                                    hone_node_kind_name(values[i]->kind));
    const hone_status status = append(pickle, container, values, count);
    pickle->depth = below;
    return status;
}

static hone_status extend_from_mark(struct hone_pickle *pickle, enum hone_node_kind kind)
{
    struct hone_node **values = NULL;
    size_t count = 0;
    const hone_status status = above_mark(pickle, &values, &count);
    return status == HONE_OK ? extend(pickle, kind, values, count, 1) : status;
}

static hone_status extend_by(struct hone_pickle *pickle, enum hone_node_kind kind, size_t count)
{
    struct hone_node **values = NULL;
    const hone_status status = top(pickle, count, &values);
    return status == HONE_OK ? extend(pickle, kind, values, count, 0) : status;
}

/* Replaces the top `count` values (and `marks` marks) by a tuple of them. */
static hone_status make_tuple(struct hone_pickle *pickle, struct hone_node **values, size_t count,
                              size_t marks)
{
    struct hone_node *const tuple = hone_pickle_node(pickle, HONE_NODE_TUPLE);
    if (tuple == NULL)
        return HONE_ERROR_MEMORY;
    const hone_status status = append(pickle, tuple, values, count);
    pickle->depth -= count + marks;
    return status == HONE_OK ? push(pickle, tuple) : status;
}

static hone_status tuple_from_mark(struct hone_pickle *pickle)
{
    struct hone_node **values = NULL;
    size_t count = 0;
    const hone_status status = above_mark(pickle, &values, &count);
    return status == HONE_OK ? make_tuple(pickle, values, count, 1) : status;
}

static hone_status tuple_of(struct hone_pickle *pickle, size_t count)
{
    struct hone_node **values = NULL;
    const hone_status status = top(pickle, count, &values);
    return status == HONE_OK ? make_tuple(pickle, values, count, 0) : status;
}

/* ---- operands ------------------------------------------------------------------------------- */

static hone_status take(struct hone_pickle *pickle, size_t count, const unsigned char **bytes)
{
    if (count > pickle->size - pickle->at)
        return hone_pickle_fail(pickle, "the pickle ends within %zu bytes; %zu are left", count,
                                pickle->size - pickle->at);
    *bytes = pickle->bytes + pickle->at;
    pickle->at += count;
    return HONE_OK;
}

/* A little-endian number of 1 to 8 bytes. */
static hone_status take_number(struct hone_pickle *pickle, size_t size, uint64_t *number)
{
    const unsigned char *bytes = NULL;
    const hone_status status = take(pickle, size, &bytes);
    *number = 0;
    for (size_t i = 0; status == HONE_OK && i < size; i++)
        *number |= (uint64_t)bytes[i] << 8 * i;
    return status;
}

static hone_status take_line(struct hone_pickle *pickle, const char **line, size_t *length)
{
    const unsigned char *const start = pickle->bytes + pickle->at;
    const unsigned char *const end = memchr(start, '\n', pickle->size - pickle->at);
    if (end == NULL)
        return hone_pickle_fail(pickle, "a name has no end");
    *line = (const char *)start;
    *length = (size_t)(end - start);
    pickle->at += *length + 1;
    return HONE_OK;
}

static hone_status push_integer(struct hone_pickle *pickle, enum hone_node_kind kind, int64_t value)
{
    struct hone_node *const node = hone_pickle_node(pickle, kind);
    if (node != NULL)
        node->as.integer = value;
    return push_new(pickle, node);
}

static hone_status push_fixed_integer(struct hone_pickle *pickle, size_t size)
{
    uint64_t number = 0;
    const hone_status status = take_number(pickle, size, &number);
    if (status != HONE_OK)
        return status;
    const int64_t value = size == 4 ? (int32_t)(uint32_t)number : (int64_t)number;
    return push_integer(pickle, HONE_NODE_INTEGER, value);
}

/* LONG1: its length in one byte, then two's complement. */
static hone_status push_long(struct hone_pickle *pickle)
{
    uint64_t length = 0, number = 0;
    hone_status status = take_number(pickle, 1, &length);
    if (status == HONE_OK && length > 8)
        return hone_pickle_fail(pickle, "an integer of %" PRIu64 " bytes; allowed: at most 8",
                                length);
    if (status == HONE_OK)
        status = take_number(pickle, (size_t)length, &number);
    if (status != HONE_OK)
        return status;
    if (length > 0 && length < 8 && (number >> (8 * length - 1) & 1) != 0)
        number |= UINT64_MAX << 8 * length;
    return push_integer(pickle, HONE_NODE_INTEGER, (int64_t)number);
}

static hone_status push_float(struct hone_pickle *pickle)
{
    const unsigned char *bytes = NULL;
    const hone_status status = take(pickle, 8, &bytes);
    if (status != HONE_OK)
        return status;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    struct hone_node *const node = hone_pickle_node(pickle, HONE_NODE_NUMBER);
    if (node != NULL)
        memcpy(&node->as.number, &bits, sizeof bits);
    return push_new(pickle, node);
}

static hone_status push_string(struct hone_pickle *pickle)
{
    uint64_t length = 0;
    const unsigned char *bytes = NULL;
    hone_status status = take_number(pickle, 4, &length);
    if (status == HONE_OK)
        status = take(pickle, (size_t)length, &bytes);
    if (status != HONE_OK)
        return status;
    struct hone_node *const node = hone_pickle_node(pickle, HONE_NODE_STRING);
    if (node != NULL) {
        node->as.string.bytes = (const char *)bytes;
        node->as.string.length = (size_t)length;
    }
    return push_new(pickle, node);
}

/* ---- opcodes that call ---------------------------------------------------------------------- */

static hone_status push_global(struct hone_pickle *pickle)
{
    const char *module = NULL, *name = NULL;
    size_t module_length = 0, name_length = 0;
    struct hone_node *node = NULL;
    hone_status status = take_line(pickle, &module, &module_length);
    if (status == HONE_OK)
        status = take_line(pickle, &name, &name_length);
    if (status == HONE_OK)
        status = hone_pickle_global(pickle, module, module_length, name, name_length, &node);
    return status == HONE_OK ? push(pickle, node) : status;
}

static hone_status reduce(struct hone_pickle *pickle)
{
    struct hone_node **values = NULL, *result = NULL;
    hone_status status = top(pickle, 2, &values);
    if (status != HONE_OK)
        return status;
    if (values[0]->kind != HONE_NODE_FUNCTION || values[1]->kind != HONE_NODE_TUPLE)
        return hone_pickle_fail(pickle, "%s is called with %s; allowed: a function with a tuple",
                                hone_node_kind_name(values[0]->kind),
                                hone_node_kind_name(values[1]->kind));
    status = hone_pickle_call(pickle, values[0], values[1], &result);
    pickle->depth -= 2;
    return status == HONE_OK ? push(pickle, result) : status;
}

static hone_status persistent(struct hone_pickle *pickle)
{
    struct hone_node **values = NULL, *result = NULL;
    hone_status status = top(pickle, 1, &values);
    if (status == HONE_OK)
        status = hone_pickle_storage(pickle, values[0], &result);
    if (status != HONE_OK)
        return status;
    pickle->depth--;
    return push(pickle, result);
}

/* BUILD sets attributes. A dictionary's (_metadata of a model's state) are not part of its values
 * and are left out; nothing else here has any. */
static hone_status build(struct hone_pickle *pickle)
{
    struct hone_node **values = NULL;
    const hone_status status = top(pickle, 2, &values);
    if (status != HONE_OK)
        return status;
    if (values[0]->kind != HONE_NODE_DICT || values[1]->kind != HONE_NODE_DICT)
        return hone_pickle_fail(pickle,
                                "attributes of %s are set from %s; allowed: those of a dictionary "
                                "from a dictionary",
                                hone_node_kind_name(values[0]->kind),
                                hone_node_kind_name(values[1]->kind));
    pickle->depth--;
    return HONE_OK;
}

static hone_status check_protocol(struct hone_pickle *pickle)
{
    uint64_t protocol = 0;
    const hone_status status = take_number(pickle, 1, &protocol);
    if (status != HONE_OK || protocol == PROTOCOL)
        return status;
    return hone_pickle_fail(pickle,
                            "pickle protocol %" PRIu64 "; torch.save writes %d unless told "
                            "otherwise, and that is what is read",
                            protocol, PROTOCOL);
}

static hone_status memo(struct hone_pickle *pickle, size_t size, bool write)
{
    uint64_t index = 0;
    const hone_status status = take_number(pickle, size, &index);
    if (status != HONE_OK)
        return status;
    return write ? memo_put(pickle, (uint32_t)index) : memo_get(pickle, (uint32_t)index);
}

/* The codes are those of Python's pickletools; the comments give their names there. */
static hone_status interpret(struct hone_pickle *pickle, unsigned char opcode)
{
    switch (opcode) {
    case 0x80: /* PROTO */
        return check_protocol(pickle);
    case '(': /* MARK */
        return push(pickle, NULL);
    case '}': /* EMPTY_DICT */
        return push_new(pickle, hone_pickle_node(pickle, HONE_NODE_DICT));
    case ']': /* EMPTY_LIST */
        return push_new(pickle, hone_pickle_node(pickle, HONE_NODE_LIST));
    case ')': /* EMPTY_TUPLE */
        return push_new(pickle, hone_pickle_node(pickle, HONE_NODE_TUPLE));
    case 't': /* TUPLE */
        return tuple_from_mark(pickle);
    case 0x85: /* TUPLE1 */
    case 0x86: /* TUPLE2 */
    case 0x87: /* TUPLE3 */
        return tuple_of(pickle, (size_t)(opcode - 0x84));
    case 'a': /* APPEND */
        return extend_by(pickle, HONE_NODE_LIST, 1);
    case 'e': /* APPENDS */
        return extend_from_mark(pickle, HONE_NODE_LIST);
    case 's': /* SETITEM */
        return extend_by(pickle, HONE_NODE_DICT, 2);
    case 'u': /* SETITEMS */
        return extend_from_mark(pickle, HONE_NODE_DICT);
    case 'N': /* NONE */
        return push_new(pickle, hone_pickle_node(pickle, HONE_NODE_NONE));
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_integer(pickle, HONE_NODE_BOOL, opcode == 0x88);
    case 'K': /* BININT1 */
        return push_fixed_integer(pickle, 1);
    case 'M': /* BININT2 */
        return push_fixed_integer(pickle, 2);
    case 'J': /* BININT */
        return push_fixed_integer(pickle, 4);
    case 0x8a: /* LONG1 */
        return push_long(pickle);
    case 'G': /* BINFLOAT */
        return push_float(pickle);
    case 'X': /* BINUNICODE */
        return push_string(pickle);
    case 'q': /* BINPUT */
    case 'r': /* LONG_BINPUT */
        return memo(pickle, opcode == 'q' ? 1 : 4, true);
    case 'h': /* BINGET */
    case 'j': /* LONG_BINGET */
        return memo(pickle, opcode == 'h' ? 1 : 4, false);
    case 'c': /* GLOBAL */
        return push_global(pickle);
    case 'R': /* REDUCE */
        return reduce(pickle);
    case 'Q': /* BINPERSID */
        return persistent(pickle);
    case 'b': /* BUILD */
        return build(pickle);
    default:
        return hone_pickle_fail(pickle, "the opcode 0x%02x; torch.save writes none such", opcode);
    }
}

hone_status hone_pickle_read(const struct hone_node **root, struct hone_arena *arena,
                             const void *bytes, size_t size,
                             const struct hone_pickle_storages *storages, hone_error *error)
{
    struct hone_pickle pickle = {
        .arena = arena, .storages = storages, .bytes = bytes, .size = size, .error = error};
    hone_status status = HONE_OK;
    while (status == HONE_OK) {
        pickle.opcode = pickle.at;
        if (pickle.at == size)
            return hone_pickle_fail(&pickle, "the pickle ends without a STOP");
        const unsigned char opcode = pickle.bytes[pickle.at++];
        if (opcode == '.') /* STOP */
            break;
        status = interpret(&pickle, opcode);
    }
    if (status != HONE_OK)
        return status;
    if (pickle.depth != 1 || pickle.stack[0] == NULL)
        return hone_pickle_fail(&pickle,
                                "the pickle ends with %zu values on the stack; one is its "
                                "result",
                                pickle.depth);
    *root = pickle.stack[0];
    return HONE_OK;
}

/* ---- looking at values ---------------------------------------------------------------------- */

bool hone_node_is_string(const struct hone_node *node, const char *text)
{
    return node->kind == HONE_NODE_STRING && node->as.string.length == strlen(text) &&
           memcmp(node->as.string.bytes, text, node->as.string.length) == 0;
}

const struct hone_node *hone_node_get(const struct hone_node *node, const char *key)
{
    if (node == NULL || node->kind != HONE_NODE_DICT)
        return NULL;
    for (size_t i = node->as.items.count; i >= 2; i -= 2)
        if (hone_node_is_string(node->as.items.at[i - 2], key))
            return node->as.items.at[i - 1];
    return NULL;
}
