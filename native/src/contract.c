/* SPDX-License-Identifier: Apache-2.0 */
/* The contract: contract.json in the ZIP behind the flatbuffer. */
#include "arithmetic.h"
#include "inflate.h"
#include "model.h"

#define LARGEST_CONTRACT ((size_t)1 << 22)
#define DEEPEST 32

/* A place in JSON text. Whatever is not JSON sets `bad`. */
typedef struct {
  const char *at, *end;
  bool bad;
} json;

static void blanks(json *j) {
  while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\t' || *j->at == '\r'))
    j->at++;
}
static bool next_is(json *j, char c) {
  blanks(j);
  return !j->bad && j->at < j->end && *j->at == c;
}
static bool take(json *j, char c) {
  if (!next_is(j, c)) return false;
  j->at++;
  return true;
}
static void must(json *j, char c) {
  if (!take(j, c)) j->bad = true;
}

/* Read a string into `text`, of which a longer one gives the beginning. Escaped characters beyond
 * ASCII become "?": names here are compared with a signature's, which has none of them. */
static void text_of(json *j, char *text, size_t size) {
  size_t used = 0;
  must(j, '"');
  while (!j->bad && j->at < j->end && *j->at != '"') {
    char c = *j->at++;
    if (c == '\\' && j->at < j->end) {
      c = *j->at++;
      if (c == 'u') {
        unsigned code = 0;
        for (int i = 0; i < 4 && j->at < j->end; i++) {
          char d = *j->at++;
          code = code * 16 + (unsigned)(d <= '9' ? d - '0' : (d | 32) - 'a' + 10);
        }
        c = code < 128 ? (char)code : '?';
      } else if (c == 'n' || c == 't' || c == 'r' || c == 'b' || c == 'f') {
        c = ' ';
      }
    }
    if (used + 1 < size) text[used++] = c;
  }
  if (size) text[used] = 0;
  must(j, '"');
}

static double number_of(json *j) {
  blanks(j);
  double sign = 1, value = 0;
  int exponent = 0, digits = 0;
  if (take(j, '-')) sign = -1;
  for (; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++, digits++)
    value = value * 10 + (*j->at - '0');
  if (j->at < j->end && *j->at == '.')
    for (j->at++; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++, digits++, exponent--)
      value = value * 10 + (*j->at - '0');
  if (!digits) j->bad = true;
  if (j->at < j->end && (*j->at | 32) == 'e') {
    int minus = 0, power = 0;
    j->at++;
    if (j->at < j->end && (*j->at == '-' || *j->at == '+')) minus = *j->at++ == '-';
    for (; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++)
      power = power < 1000 ? power * 10 + (*j->at - '0') : power;
    exponent += minus ? -power : power;
  }
  double scale = 1;
  for (int i = 0; i < (exponent < 0 ? -exponent : exponent) && i < 400; i++) scale *= 10;
  return sign * (exponent < 0 ? value / scale : value * scale);
}

static void skip(json *j, int depth) {
  if (depth > DEEPEST) j->bad = true;
  if (j->bad) return;
  if (next_is(j, '"')) {
    text_of(j, NULL, 0);
  } else if (take(j, '{')) {
    if (take(j, '}')) return;
    do {
      text_of(j, NULL, 0);
      must(j, ':');
      skip(j, depth + 1);
    } while (take(j, ','));
    must(j, '}');
  } else if (take(j, '[')) {
    if (take(j, ']')) return;
    do skip(j, depth + 1);
    while (take(j, ','));
    must(j, ']');
  } else if (next_is(j, 't') || next_is(j, 'f') || next_is(j, 'n')) {
    while (j->at < j->end && *j->at >= 'a' && *j->at <= 'z') j->at++;
  } else {
    number_of(j);
  }
}

/* Find a member of the object that begins here; the place of its value. */
static bool member(json object, const char *name, json *value) {
  char key[64];
  if (!take(&object, '{') || take(&object, '}')) return false;
  do {
    text_of(&object, key, sizeof key);
    must(&object, ':');
    blanks(&object);
    *value = object;
    if (object.bad) return false;
    if (!strcmp(key, name)) return !next_is(value, 'n'); /* null is as good as left out */
    skip(&object, 0);
  } while (take(&object, ','));
  return false;
}

static size_t elements(json array) {
  size_t count = 0;
  if (!take(&array, '[') || next_is(&array, ']')) return 0;
  do {
    skip(&array, 0);
    count++;
  } while (!array.bad && take(&array, ','));
  return array.bad ? 0 : count;
}

static double member_number(json object, const char *name, double otherwise) {
  json value;
  return member(object, name, &value) ? number_of(&value) : otherwise;
}

static const struct {
  const char *name;
  es_type type;
} types[] = {{"float32", ES_F32}, {"int8", ES_I8}, {"int16", ES_I16}, {"int32", ES_I32},
             {"int64", ES_I64}};

static es_status read_spec(es_loader *l, json object, es_spec *spec) {
  json value;
  char dtype[16] = "";
  if (!member(object, "name", &value)) return es_fail(l, ES_BAD_MODEL, "a tensor has no name");
  text_of(&value, spec->name, sizeof spec->name);
  if (member(object, "dtype", &value)) text_of(&value, dtype, sizeof dtype);
  int type = -1;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(dtype, types[i].name)) type = (int)types[i].type;
  if (type < 0)
    return es_fail(l, ES_UNSUPPORTED, "'%s' is %s, which is not known here", spec->name, dtype);
  spec->type = (es_type)type;
  spec->count = 1;
  if (!member(object, "shape", &value)) return es_fail(l, ES_BAD_MODEL, "a tensor has no shape");
  for (bool more = take(&value, '['); more; more = take(&value, ',')) {
    double size = number_of(&value);
    if (value.bad || !(size >= 1 && size <= (double)ES_MAX_ELEMENTS))
      return es_fail(l, ES_BAD_MODEL, "'%s' has a shape that is none", spec->name);
    spec->count *= (size_t)size;
    if (spec->count > ES_MAX_ELEMENTS)
      return es_fail(l, ES_UNSUPPORTED, "'%s' is too large", spec->name);
  }
  spec->bytes = spec->count * es_type_bytes(spec->type);
  spec->quantized = member(object, "scale", &value);
  if (spec->quantized) {
    spec->scale = (float)number_of(&value);
    spec->zero_point = (int32_t)es_clamp64(member_number(object, "zero_point", 0), -32768, 32767);
    if (!(spec->scale > 0)) return es_fail(l, ES_BAD_MODEL, "'%s' has no scale", spec->name);
  }
  spec->vocabulary = (int32_t)es_clamp64(member_number(object, "vocabulary", 0), 0, 2147483647);
  double period = member_number(object, "period", 1);
  if (!(period >= 1 && period <= ES_MAX_CYCLE))
    return es_fail(l, ES_BAD_MODEL, "'%s' has no period", spec->name);
  spec->period = (int)period;
  return ES_OK;
}

static void store(const es_spec *spec, void *values, size_t index, double value) {
  if (spec->type == ES_F32) ((float *)values)[index] = (float)value;
  if (spec->type == ES_I8) ((int8_t *)values)[index] = (int8_t)es_clamp64(value, -128, 127);
  if (spec->type == ES_I16) ((int16_t *)values)[index] = (int16_t)es_clamp64(value, -32768, 32767);
  if (spec->type == ES_I32) ((int32_t *)values)[index] = (int32_t)es_clamp64(value, -2147483648.0, 2147483647);
  if (spec->type == ES_I64) ((int64_t *)values)[index] = (int64_t)es_clamp64(value, -9e15, 9e15);
}

/* "zeros", or a list of one row of the first axis, or of all. */
static es_status read_initial(es_loader *l, json object, es_spec *spec) {
  void *values = es_take(l, spec->bytes);
  if (!values) return l->status;
  spec->initial = values;
  json list;
  size_t count = member(object, "initial", &list) && next_is(&list, '[') ? elements(list) : 0;
  if (count && spec->count % count)
    return es_fail(l, ES_BAD_MODEL, "'%s' has initial values of another size", spec->name);
  for (size_t i = 0; i < spec->count; i++) {
    if (!count) {
      store(spec, values, i, spec->zero_point);
    } else if (i < count) {
      must(&list, i ? ',' : '[');
      store(spec, values, i, number_of(&list));
    } else { /* all rows begin alike */
      size_t size = es_type_bytes(spec->type);
      memcpy((char *)values + i * size, (char *)values + (i - count) * size, size);
    }
  }
  return list.bad && count ? es_fail(l, ES_BAD_MODEL, "initial values are no numbers") : ES_OK;
}

static es_status read_list(es_loader *l, json contract, const char *name, es_spec **specs,
                           size_t *count) {
  json list;
  *count = member(contract, name, &list) ? elements(list) : 0;
  if (*count > 4096) return es_fail(l, ES_UNSUPPORTED, "the contract has %zu %s", *count, name);
  *specs = es_take(l, (*count + 1) * sizeof **specs);
  if (!*specs) return l->status;
  for (size_t i = 0; i < *count; i++) {
    must(&list, i ? ',' : '[');
    blanks(&list);
    if (read_spec(l, list, &(*specs)[i])) return l->status;
    if (!strcmp(name, "states") && read_initial(l, list, &(*specs)[i])) return l->status;
    skip(&list, 0);
  }
  return ES_OK;
}

static es_status read_window(es_loader *l, json contract) {
  es_model *m = l->model;
  json window;
  if (!member(contract, "window", &window)) return ES_OK;
  m->window.steps = (int64_t)es_clamp64(member_number(window, "steps", 0), 0, 1 << 20);
  m->window.hop = (int64_t)es_clamp64(member_number(window, "hop", 0), 0, 1 << 20);
  m->window.lanes = (int64_t)es_clamp64(member_number(window, "lanes", 0), 0, 1 << 16);
  const es_window w = m->window;
  if (w.steps < 1 || w.hop < 1 || (w.lanes && w.lanes != (w.steps + w.hop - 1) / w.hop))
    return es_fail(l, ES_BAD_MODEL, "the window's numbers do not fit each other");
  if (m->cycle > 1) return es_fail(l, ES_BAD_MODEL, "a window and periods do not go together");
  for (size_t i = 0; m->window.lanes && i < m->output_count; i++)
    if (m->outputs[i].count % (size_t)m->window.lanes)
      return es_fail(l, ES_BAD_MODEL, "an output does not fit the lanes");
  for (size_t i = 0; m->window.lanes && i < m->state_count; i++)
    if (m->states[i].count % (size_t)m->window.lanes)
      return es_fail(l, ES_BAD_MODEL, "a state does not fit the lanes");
  return ES_OK;
}

static int greatest_common_divisor(int a, int b) { return b ? greatest_common_divisor(b, a % b) : a; }

static es_status read_fields(es_loader *l, json contract) {
  es_model *m = l->model;
  int format = (int)es_clamp64(member_number(contract, "format_version", 0), 0, 1000);
  /* Rows, of format 4, are in the tensors' shapes: a frame here is one of each row. */
  if (format < 2 || format > 4)
    return es_fail(l, ES_UNSUPPORTED, "the contract's format %d is not 2 to 4", format);
  if (read_list(l, contract, "inputs", &m->inputs, &m->input_count) ||
      read_list(l, contract, "outputs", &m->outputs, &m->output_count) ||
      read_list(l, contract, "states", &m->states, &m->state_count))
    return l->status;
  if (!m->input_count || !m->output_count)
    return es_fail(l, ES_BAD_MODEL, "the contract names no input or no output");
  m->cycle = 1;
  for (size_t i = 0; i < m->state_count; i++) {
    int period = m->states[i].period;
    m->cycle = m->cycle / greatest_common_divisor(m->cycle, period) * period;
    if (m->cycle > ES_MAX_CYCLE) return es_fail(l, ES_UNSUPPORTED, "the states' cycle is too long");
    m->state_bytes += m->states[i].bytes;
  }
  m->first_phase = (int)es_clamp64(member_number(contract, "first_phase", 0), 0, m->cycle - 1);
  if (read_window(l, contract)) return l->status;
  size_t rows = m->window.lanes ? (size_t)m->window.lanes : 1;
  for (size_t i = 0; i < m->input_count; i++) {
    m->input_values += m->inputs[i].count;
    m->input_bytes += m->inputs[i].bytes;
  }
  for (size_t i = 0; i < m->output_count; i++) {
    m->output_values += m->outputs[i].count / rows;
    m->output_bytes += m->outputs[i].bytes / rows;
  }
  return ES_OK;
}

/* Find a member of the ZIP at the file's end: its bytes, and whether they are compressed. */
static bool zip_member(es_reader *r, const char *name, es_vector *found, bool *packed,
                       size_t *unpacked) {
  size_t end = r->bytes < 22 ? 0 : r->bytes - 22, lowest = end > 65535 ? end - 65535 : 0;
  while (end > lowest && es_read_u32(r, end) != 0x06054B50) end--;
  if (es_read_u32(r, end) != 0x06054B50) return false;
  size_t count = es_read_u16(r, end + 10), length = es_read_u32(r, end + 12);
  if (length > end) return false;
  /* Offsets count from the ZIP's beginning, which may lie behind something else. */
  size_t at = end - length, shift = at - es_read_u32(r, end + 16);
  for (; count && !r->bad && es_read_u32(r, at) == 0x02014B50; count--) {
    size_t names = es_read_u16(r, at + 28);
    if (names == strlen(name) && es_within(r, at + 46, names) &&
        !memcmp(r->data + at + 46, name, names)) {
      size_t local = es_read_u32(r, at + 42) + shift;
      unsigned method = es_read_u16(r, at + 10);
      *packed = method == 8;
      *unpacked = es_read_u32(r, at + 24);
      found->count = es_read_u32(r, at + 20);
      found->at = local + 30 + es_read_u16(r, local + 26) + es_read_u16(r, local + 28);
      return (method == 0 || method == 8) && es_within(r, found->at, found->count) && !r->bad;
    }
    at += 46 + names + es_read_u16(r, at + 30) + es_read_u16(r, at + 32);
  }
  return false;
}

es_status es_parse_contract(es_loader *l, const char *text, size_t bytes) {
  json contract = {text, text + bytes, false};
  json whole = contract;
  skip(&whole, 0);
  if (whole.bad) return es_fail(l, ES_BAD_MODEL, "the contract is not JSON");
  return read_fields(l, contract);
}

es_status es_read_contract(es_loader *l, const uint8_t *file, size_t bytes) {
  es_reader r = {file, bytes, false};
  es_vector packed;
  bool compressed = false;
  size_t size = 0;
  if (!zip_member(&r, "contract.json", &packed, &compressed, &size))
    return es_fail(l, ES_BAD_MODEL, "the file has no contract; make a step model with edgestep");
  if (!compressed) return es_parse_contract(l, (const char *)file + packed.at, packed.count);
  if (size > LARGEST_CONTRACT) return es_fail(l, ES_BAD_MODEL, "the contract is too large");
  char *unpacked = es_take(l, size + 1);
  if (!unpacked) return l->status;
  if (!es_inflate(file + packed.at, packed.count, (uint8_t *)unpacked, size))
    return es_fail(l, ES_BAD_MODEL, "the contract is damaged");
  return es_parse_contract(l, unpacked, size);
}
