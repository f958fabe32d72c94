/* SPDX-License-Identifier: Apache-2.0 */
/* The Python module device_runner.native_call: one call of libedgestep with little around it.
 *
 * It holds no kernels. device_runner/backends/native.py loads libedgestep and hands over addresses,
 * so this file needs Python's limited API alone, and one build serves every Python from 3.10 on.
 * Of NumPy it uses the beginning of an array's struct and PyArray_New, as NumPy's own headers
 * declare them; they are the same in NumPy 1 and 2. `check_array` holds that against an array once
 * before it is used.
 */
#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAX_RANK 6
#define CONTIGUOUS_ALIGNED (0x0001 | 0x0100)
#define WRITABLE 0x0400
#define NUMPY_FLOAT32 11
/* Places in NumPy's table of functions. */
#define ARRAY_TYPE 2
#define ARRAY_NEW 93

/* Statuses of edgestep.h. */
#define ES_OK 0
#define ES_NO_ANSWER 5
#define ES_NOT_FINITE 6

typedef struct {
  PyObject_HEAD
  char *data;
  int rank;
  Py_ssize_t *dims, *strides;
  PyObject *base, *dtype;
  int flags;
} array_object;

typedef PyObject *(*new_array)(PyTypeObject *, int, const Py_ssize_t *, int, const Py_ssize_t *,
                               void *, int, int, PyObject *);
typedef int (*values_function)(void *stream, const float *inputs, float *outputs);
typedef size_t (*bytes_function)(void *stream, const void *inputs, void *outputs);

/* An input or output: its name, the shape of its frame, the ids that it takes if it takes ids. */
typedef struct {
  PyObject *name;
  Py_ssize_t dims[MAX_RANK];
  int rank;
  size_t count;
  long vocabulary;
} port;

typedef struct {
  port *at;
  Py_ssize_t count;
  size_t values; /* of all */
} ports;

typedef struct {
  PyObject_HEAD
  values_function step_values;
  bytes_function step_bytes;
  void *stream;
  const void *frame;
  void *given;
  PyTypeObject *array_type;
  new_array make;
  PyObject *float32, *float64;
  PyObject *general, *general_bytes, *not_finite, *owner;
  ports in, out;
  Py_ssize_t input_bytes, output_bytes;
  int release;
  float *scratch, *results; /* of all inputs, of several outputs */
} call_object;

static PyObject *call_with(PyObject *function, PyObject *argument) {
  return PyObject_CallFunctionObjArgs(function, argument, NULL);
}

/* The values of an array that is one frame, where they lie if they are float32, or else in `room`;
 * NULL if it is anything else. */
static const float *frame_values(const call_object *c, const port *in, PyObject *x, float *room) {
  if (Py_TYPE(x) != c->array_type) return NULL;
  const array_object *a = (const array_object *)x;
  if (a->rank != in->rank || (a->flags & CONTIGUOUS_ALIGNED) != CONTIGUOUS_ALIGNED) return NULL;
  for (int i = 0; i < a->rank; i++)
    if (a->dims[i] != in->dims[i]) return NULL;
  if (a->dtype == c->float32) return (const float *)(const void *)a->data;
  if (a->dtype != c->float64) return NULL;
  const double *values = (const double *)(const void *)a->data;
  for (size_t i = 0; i < in->count; i++) room[i] = (float)values[i];
  return room;
}

/* A token id, as a step of real values takes it. */
static const float *token_value(const port *in, PyObject *x, float *room) {
  if (!PyLong_CheckExact(x)) return NULL;
  const long token = PyLong_AsLong(x);
  if (token == -1 && PyErr_Occurred()) PyErr_Clear();
  if (token < 0 || token >= in->vocabulary) return NULL;
  room[0] = (float)token;
  return room;
}

static const float *input_values(const call_object *c, const port *in, PyObject *x, float *room) {
  return in->vocabulary ? token_value(in, x, room) : frame_values(c, in, x, room);
}

/* The values of all inputs side by side, of a dict by name or a tuple in order; NULL if it is
 * anything else. */
static const float *all_values(const call_object *c, PyObject *x) {
  const int named = PyDict_CheckExact(x);
  if (named ? PyDict_Size(x) != c->in.count
            : !PyTuple_CheckExact(x) || PyTuple_Size(x) != c->in.count)
    return NULL;
  float *to = c->scratch;
  for (Py_ssize_t i = 0; i < c->in.count; to += c->in.at[i].count, i++) {
    const port *in = &c->in.at[i];
    PyObject *one = named ? PyDict_GetItemWithError(x, in->name) : PyTuple_GetItem(x, i);
    if (!one) PyErr_Clear();
    const float *values = one ? input_values(c, in, one, to) : NULL;
    if (!values) return NULL;
    if (values != to) memcpy(to, values, in->count * sizeof *to);
  }
  return c->scratch;
}

static PyObject *new_output(const call_object *c, const port *out) {
  return c->make(c->array_type, out->rank, out->dims, NUMPY_FLOAT32, NULL, NULL, 0, 0, NULL);
}
static float *values_of(PyObject *array) {
  return (float *)(void *)((array_object *)array)->data;
}

/* Several outputs by name. */
static PyObject *named_outputs(const call_object *c) {
  PyObject *all = PyDict_New();
  const float *from = c->results;
  for (Py_ssize_t i = 0; all && i < c->out.count; from += c->out.at[i].count, i++) {
    const port *out = &c->out.at[i];
    PyObject *y = new_output(c, out);
    if (y) memcpy(values_of(y), from, out->count * sizeof *from);
    if (!y || PyDict_SetItem(all, out->name, y)) Py_CLEAR(all);
    Py_XDECREF(y);
  }
  return all;
}

static int step_into(const call_object *c, const float *values, float *given) {
  int status;
  if (c->release) {
    Py_BEGIN_ALLOW_THREADS
    status = c->step_values(c->stream, values, given);
    Py_END_ALLOW_THREADS
  } else {
    status = c->step_values(c->stream, values, given);
  }
  if (status == ES_NO_ANSWER)
    for (size_t i = 0; i < c->out.values; i++) given[i] = NAN;
  return status;
}

static PyObject *call_step(PyObject *self, PyObject *x) {
  const call_object *c = (const call_object *)self;
  const float *values =
      c->in.count == 1 ? input_values(c, c->in.at, x, c->scratch) : all_values(c, x);
  /* What is wrong with it, or how it is to be understood, is said there. */
  if (!values) return call_with(c->general, x);
  const int one = c->out.count == 1;
  PyObject *y = one ? new_output(c, c->out.at) : NULL;
  if (one && !y) return NULL;
  const int status = step_into(c, values, one ? values_of(y) : c->results);
  if (!one && !(y = named_outputs(c))) return NULL;
  if (status == ES_OK || status == ES_NO_ANSWER) return y;
  PyObject *answer = call_with(status == ES_NOT_FINITE ? c->not_finite : c->general,
                               status == ES_NOT_FINITE ? y : x);
  Py_DECREF(y);
  return answer;
}

static PyObject *call_step_bytes(PyObject *self, PyObject *frame) {
  call_object *c = (call_object *)self;
  if (!PyBytes_CheckExact(frame) || PyBytes_Size(frame) != c->input_bytes)
    return call_with(c->general_bytes, frame);
  PyObject *answer = PyBytes_FromStringAndSize(NULL, c->output_bytes);
  if (!answer) return NULL;
  const char *from = PyBytes_AsString(frame);
  char *to = PyBytes_AsString(answer);
  size_t given;
  if (c->release) {
    Py_BEGIN_ALLOW_THREADS
    given = c->step_bytes(c->stream, from, to);
    Py_END_ALLOW_THREADS
  } else {
    given = c->step_bytes(c->stream, from, to);
  }
  if (given) return answer;
  Py_DECREF(answer);
  return PyBytes_FromStringAndSize(NULL, 0);
}

/* Step the bytes that are in the stream's own frame into the memory beside it. */
static PyObject *call_invoke(PyObject *self, PyObject *unused) {
  call_object *c = (call_object *)self;
  (void)unused;
  return PyLong_FromSize_t(c->step_bytes(c->stream, c->frame, c->given));
}

static int read_shape(PyObject *tuple, port *p) {
  const Py_ssize_t rank = PyTuple_Size(tuple);
  if (rank < 0) return -1;
  if (rank > MAX_RANK) {
    PyErr_SetString(PyExc_ValueError, "a frame has more dimensions than are known here");
    return -1;
  }
  p->rank = (int)rank;
  p->count = 1;
  for (Py_ssize_t i = 0; i < rank; i++) {
    p->dims[i] = PyLong_AsSsize_t(PyTuple_GetItem(tuple, i));
    if (p->dims[i] < 0) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a dimension is negative");
      return -1;
    }
    p->count *= (size_t)p->dims[i];
  }
  return 0;
}

/* Read a tuple of (name, shape, vocabulary). */
static int read_ports(PyObject *tuple, ports *all) {
  const Py_ssize_t count = PyTuple_Size(tuple);
  if (count < 0) return -1;
  all->at = PyMem_Calloc((size_t)count + 1, sizeof *all->at);
  if (!all->at) return PyErr_NoMemory(), -1;
  for (Py_ssize_t i = 0; i < count; i++) {
    port *p = &all->at[i];
    PyObject *name, *dims;
    if (!PyArg_ParseTuple(PyTuple_GetItem(tuple, i), "O!O!l", &PyUnicode_Type, &name,
                          &PyTuple_Type, &dims, &p->vocabulary))
      return -1;
    Py_INCREF(name), p->name = name;
    all->count++;
    if (read_shape(dims, p)) return -1;
    all->values += p->count;
  }
  return 0;
}

static void free_ports(ports *all) {
  for (Py_ssize_t i = 0; i < all->count; i++) Py_XDECREF(all->at[i].name);
  PyMem_Free(all->at);
}

/* Tell whether arrays lie in memory as this file says, from a float32 array of [2, 3]. */
static int check_array(call_object *c, PyObject *sample, unsigned long long address) {
  const array_object *a = (const array_object *)sample;
  if (Py_TYPE(sample) == c->array_type && a->rank == 2 && a->dims[0] == 2 && a->dims[1] == 3 &&
      a->strides[0] == 12 && a->strides[1] == 4 && a->base == NULL && a->dtype == c->float32 &&
      (uintptr_t)a->data == address &&
      (a->flags & (CONTIGUOUS_ALIGNED | WRITABLE)) == (CONTIGUOUS_ALIGNED | WRITABLE))
    return 0;
  PyErr_SetString(PyExc_RuntimeError, "NumPy's arrays are not laid out as they are known here");
  return -1;
}

static int use_numpy(call_object *c, PyObject *numpy_table, PyObject *sample,
                     unsigned long long address) {
  void **table = PyCapsule_GetPointer(numpy_table, NULL);
  if (!table) return -1;
  c->array_type = table[ARRAY_TYPE];
  c->make = (new_array)table[ARRAY_NEW];
  Py_INCREF(c->array_type);
  return check_array(c, sample, address);
}

static PyObject *call_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
  static char *names[] = {"step_values", "step_bytes", "stream", "frame", "given", "owner",
                          "numpy_table", "sample", "sample_address", "float32", "float64", "general",
                          "general_bytes", "not_finite", "inputs", "outputs",
                          "input_bytes", "output_bytes", "release", NULL};
  unsigned long long values, bytes, stream, frame, given, address;
  PyObject *owner, *table, *sample, *float32, *float64, *general, *general_bytes, *not_finite;
  PyObject *in, *out;
  Py_ssize_t input_bytes, output_bytes;
  int release;
  if (!PyArg_ParseTupleAndKeywords(
          arguments, keywords, "KKKKKOOOKOOOOOO!O!nnp", names, &values, &bytes, &stream, &frame,
          &given, &owner, &table, &sample, &address, &float32, &float64, &general, &general_bytes, &not_finite,
          &PyTuple_Type, &in, &PyTuple_Type, &out, &input_bytes, &output_bytes, &release))
    return NULL;
  const allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
  call_object *c = (call_object *)allocate(type, 0);
  if (!c) return NULL;
  c->step_values = (values_function)(uintptr_t)values;
  c->step_bytes = (bytes_function)(uintptr_t)bytes;
  c->stream = (void *)(uintptr_t)stream;
  c->frame = (const void *)(uintptr_t)frame;
  c->given = (void *)(uintptr_t)given;
  c->input_bytes = input_bytes;
  c->output_bytes = output_bytes;
  c->release = release;
  Py_INCREF(owner), c->owner = owner;
  Py_INCREF(float32), c->float32 = float32;
  Py_INCREF(float64), c->float64 = float64;
  Py_INCREF(general), c->general = general;
  Py_INCREF(general_bytes), c->general_bytes = general_bytes;
  Py_INCREF(not_finite), c->not_finite = not_finite;
  if (read_ports(in, &c->in) || read_ports(out, &c->out) || use_numpy(c, table, sample, address)) {
    Py_DECREF(c);
    return NULL;
  }
  c->scratch = PyMem_Malloc((c->in.values + 1) * sizeof *c->scratch);
  c->results = PyMem_Malloc((c->out.values + 1) * sizeof *c->results);
  if (!c->scratch || !c->results) {
    Py_DECREF(c);
    return PyErr_NoMemory();
  }
  return (PyObject *)c;
}

static int call_traverse(PyObject *self, visitproc visit, void *arg) {
  call_object *c = (call_object *)self;
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(c->owner);
  Py_VISIT(c->general);
  Py_VISIT(c->general_bytes);
  Py_VISIT(c->not_finite);
  return 0;
}

static int call_clear(PyObject *self) {
  call_object *c = (call_object *)self;
  Py_CLEAR(c->general);
  Py_CLEAR(c->general_bytes);
  Py_CLEAR(c->not_finite);
  return 0;
}

static void call_free(PyObject *self) {
  call_object *c = (call_object *)self;
  PyTypeObject *type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  call_clear(self);
  Py_XDECREF(c->owner);
  Py_XDECREF(c->float32);
  Py_XDECREF(c->float64);
  Py_XDECREF(c->array_type);
  free_ports(&c->in);
  free_ports(&c->out);
  PyMem_Free(c->scratch);
  PyMem_Free(c->results);
  ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"step", call_step, METH_O, "Step real values, as Stream.step does."},
    {"step_bytes", call_step_bytes, METH_O, "Step bytes as stored, as Stream.step_bytes does."},
    {"invoke", call_invoke, METH_NOARGS, "Step the bytes in the frame; say how many it gave."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Calls on one stream of libedgestep, which it keeps alive."},
    {Py_tp_new, call_new},
    {Py_tp_traverse, call_traverse},
    {Py_tp_clear, call_clear},
    {Py_tp_dealloc, call_free},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    "device_runner.native_call.Call",
    sizeof(call_object),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    slots,
};

static int fill_module(PyObject *module) {
  PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
  if (!type) return -1;
  const int failed = PyModule_AddObjectRef(module, "Call", type);
  Py_DECREF(type);
  return failed;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "native_call",
    .m_doc = "One call of libedgestep.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit_native_call(void) { return PyModuleDef_Init(&definition); }
