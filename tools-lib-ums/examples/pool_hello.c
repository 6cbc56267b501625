// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/* A first program with ums_pool: ten workers that sleep, on one scheduler a CPU. */
#include <err.h>
#include <stdio.h>
#include <unistd.h>
#include <ums_pool.h>

static void *work(void *name)
{
	sleep(1);
	printf("worker %s\n", (char *)name);
	return NULL;
}

int main(void)
{
	char names[10][2] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
	ums_pool_t *pool;

	if (ums_pool_create(&pool, NULL))
		err(1, "ums_pool_create");
	for (int i = 0; i < 10; i++)
		if (ums_pool_spawn(pool, NULL, UMS_POOL_NORMAL, work, names[i]))
			err(1, "ums_pool_spawn");
	if (ums_pool_destroy(pool))
		err(1, "ums_pool_destroy");
	return 0;
}
