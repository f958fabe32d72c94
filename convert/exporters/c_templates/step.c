/* The step of ${prefix}_step.h. Written by 'edgestep export-c'. */
#include "${prefix}_step.h"

#include <math.h>
#include <string.h>

const char *const ${prefix}_labels[$label_count] = {
$labels
};

$initial_values
$conversions
void ${prefix}_reset(${prefix}_state *state) {
$reset
}

int ${prefix}_step(const ${prefix}_runtime *runtime, ${prefix}_state *state, $parameters) {
  int failure;
$write
  failure = runtime->invoke(runtime->context);
  if (failure) return failure;
  /* The interpreter may keep inputs and outputs in the same memory: everything is read here, before
   * the next step writes. */
$read
  return 0;
}
