/* A delegate for tests alone. It takes the float32 TANH operators and computes them on the CPU.
 *
 * Options: "claim": "tanh" (default) or "nothing"; "fail": any value makes it refuse to start with
 * that text. No package here brings TFLite's C headers, so the beginnings of its structures, which
 * are only ever appended to, are declared anew (tensorflow/lite/core/c/common.h).
 */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, ERROR = 1, FLOAT32 = 1, BUILTIN_TANH = 28, BUILTIN_DELEGATE = 51 };

typedef struct {
    int size;
    int data[];
} IntArray;

typedef struct Context Context;
typedef struct Node Node;
typedef struct Delegate Delegate;

typedef struct {
    int type;
    float *data;
    IntArray *dims;
    struct {
        float scale;
        int32_t zero_point;
    } params;
    int allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    Delegate *delegate;
    int buffer_handle;
    bool data_is_stale, is_variable;
    struct {
        int type;
        void *params;
    } quantization;
    void *sparsity;
    const IntArray *dims_signature;
} Tensor;

typedef struct {
    void *(*init)(Context *, const char *, size_t);
    void (*free)(Context *, void *);
    int (*prepare)(Context *, Node *);
    int (*invoke)(Context *, Node *);
    const char *(*profiling_string)(const Context *, const Node *);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *registration_external;
    void *async_kernel;
    uint64_t inplace_operator;
} Registration;

struct Context {
    size_t tensors_size;
    int (*get_execution_plan)(Context *, IntArray **);
    Tensor *tensors;
    void *impl;
    void *resize_tensor;
    void *report_error;
    void *add_tensors;
    int (*get_node_and_registration)(Context *, int, Node **, Registration **);
    int (*replace_node_subsets)(Context *, Registration, const IntArray *, Delegate *);
};

struct Node {
    IntArray *inputs, *outputs, *intermediates, *temporaries;
    void *user_data;
};

struct Delegate {
    void *data;
    int (*prepare)(Context *, Delegate *);
    void *copy_from, *copy_to, *free_handle;
    int64_t flags;
    void *opaque_builder;
};

typedef struct {
    Delegate *delegate;
    IntArray *nodes_to_replace, *input_tensors, *output_tensors;
} DelegateParams;

typedef struct {
    int count;
    int pairs[][2]; /* input and output tensor of each operator */
} Kernel;

static void *kernel_init(Context *context, const char *buffer, size_t length) {
    const IntArray *nodes = ((const DelegateParams *)buffer)->nodes_to_replace;
    (void)length;
    Kernel *kernel = malloc(sizeof(Kernel) + nodes->size * sizeof(int[2]));
    kernel->count = nodes->size;
    for (int i = 0; i < nodes->size; i++) {
        Node *node;
        Registration *registration;
        context->get_node_and_registration(context, nodes->data[i], &node, &registration);
        kernel->pairs[i][0] = node->inputs->data[0];
        kernel->pairs[i][1] = node->outputs->data[0];
    }
    return kernel;
}

static void kernel_free(Context *context, void *kernel) {
    (void)context;
    free(kernel);
}

static int kernel_prepare(Context *context, Node *node) {
    (void)context, (void)node;
    return OK;
}

static int kernel_invoke(Context *context, Node *node) {
    const Kernel *kernel = node->user_data;
    for (int i = 0; i < kernel->count; i++) {
        const Tensor *in = &context->tensors[kernel->pairs[i][0]];
        Tensor *out = &context->tensors[kernel->pairs[i][1]];
        for (size_t k = 0; k < in->bytes / sizeof(float); k++) out->data[k] = tanhf(in->data[k]);
    }
    return OK;
}

static int delegate_prepare(Context *context, Delegate *delegate) {
    IntArray *plan;
    if (context->get_execution_plan(context, &plan) != OK) return ERROR;
    IntArray *claimed = malloc(sizeof(IntArray) + plan->size * sizeof(int));
    claimed->size = 0;
    for (int i = 0; i < plan->size && delegate->data; i++) {
        Node *node;
        Registration *registration;
        context->get_node_and_registration(context, plan->data[i], &node, &registration);
        if (registration->builtin_code == BUILTIN_TANH &&
            context->tensors[node->inputs->data[0]].type == FLOAT32)
            claimed->data[claimed->size++] = plan->data[i];
    }
    Registration kernel = {kernel_init, kernel_free,      kernel_prepare, kernel_invoke, NULL,
                           BUILTIN_DELEGATE, "FakeTanh", 1};
    int status = OK;
    if (claimed->size)
        status = context->replace_node_subsets(context, kernel, claimed, delegate);
    free(claimed);
    return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                        void (*report)(const char *)) {
    bool claims = true;
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(keys[i], "fail")) {
            report(values[i]);
            return NULL;
        }
        if (!strcmp(keys[i], "claim")) claims = strcmp(values[i], "nothing") != 0;
    }
    Delegate *delegate = calloc(1, sizeof(Delegate));
    delegate->data = claims ? delegate : NULL;
    delegate->prepare = delegate_prepare;
    return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
