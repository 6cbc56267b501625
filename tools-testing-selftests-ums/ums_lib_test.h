/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of the library share. */
#ifndef UMS_LIB_TEST_H
#define UMS_LIB_TEST_H

#include <ums.h>

#include "ums_fixture.h"

/* What a function of the library returned, with -errno for an error. */
static inline long ok(int ret)
{
	return ret == -1 ? -errno : ret;
}

#endif /* UMS_LIB_TEST_H */
