/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that several files call; firmware, which is one file, has them for itself. */
#include "functions_f64.h"
