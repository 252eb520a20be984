/* SPDX-License-Identifier: Apache-2.0 */
/* engine/conformance_bt.c - the cases of conformance.c, for the translator. */
#define CONFORMANCE_ENGINE "bt"
#include "engine/conformance.c"
