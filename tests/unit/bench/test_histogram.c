/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "histogram.h"

static struct cg_histogram histogram;

static int empty(void **state)
{
	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	return 0;
}

static void test_an_empty_one_answers_0(void **state)
{
	(void)state;
	assert_int_equal(cg_histogram_percentile(&histogram, 0.5), 0);
	assert_int_equal(cg_histogram_percentile(&histogram, 1), 0);
}

/* One value alone is every percentile, exactly, since the greatest is kept as it is. */
static void test_every_value_falls_into_a_bucket_that_holds_it(void **state)
{
	(void)state;
	for (unsigned power = 0; power < 63; power++) {
		for (int step = -1; step <= 1; step++) {
			uint64_t value = (UINT64_C(1) << power) + (uint64_t)step;
			uint64_t median;

			empty(NULL);
			cg_histogram_add(&histogram, value);
			cg_histogram_add(&histogram, value);
			cg_histogram_add(&histogram, UINT64_MAX / 2);
			median = cg_histogram_percentile(&histogram, 0.5);
			if (power < 41) {
				assert_true(median >= value);
				assert_true(median - value <= value / CG_HISTOGRAM_STEPS);
			}
			assert_int_equal(cg_histogram_percentile(&histogram, 1), UINT64_MAX / 2);
		}
	}
}

static void test_percentiles_of_1_to_100000(void **state)
{
	static const struct {
		double share;
		uint64_t value;
	} rows[] = {{0.5, 50000}, {0.9, 90000}, {0.99, 99000}, {0.999, 99900}, {1, 100000}};

	(void)state;
	for (uint64_t value = 100000; value > 0; value--) {
		cg_histogram_add(&histogram, value);
	}
	assert_int_equal(histogram.count, 100000);
	assert_int_equal(histogram.max_ns, 100000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t found = cg_histogram_percentile(&histogram, rows[i].share);

		assert_true(found >= rows[i].value);
		assert_true(found - rows[i].value <= rows[i].value / CG_HISTOGRAM_STEPS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_an_empty_one_answers_0, empty),
	    cmocka_unit_test_setup(test_every_value_falls_into_a_bucket_that_holds_it, empty),
	    cmocka_unit_test_setup(test_percentiles_of_1_to_100000, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
