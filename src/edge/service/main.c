/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "edge/service/edge.h"

enum action {
	RUN,
	CHECK_CONFIG,
	CHECK_ACCOUNT,
};

/* What is no setting; taken out of the arguments. */
static enum action action_of(int *argc, char **argv)
{
	enum action action = RUN;
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "--check-config") == 0) {
			action = CHECK_CONFIG;
		} else if (i == 1 && strcmp(argv[i], "check") == 0) {
			action = CHECK_ACCOUNT;
		} else {
			argv[kept++] = argv[i];
		}
	}
	*argc = kept;
	return action;
}

/* Help and version come first: they must work with a broken environment. */
static bool is_asked_only(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			cg_edge_settings_print(stdout);
			return true;
		}
		if (strcmp(argv[i], "--version") == 0) {
			(void)printf("callgate-edge %s\n", CG_VERSION);
			return true;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	static struct cg_edge_settings settings;
	struct cg_error err = {{0}};

	if (is_asked_only(argc, argv)) {
		return EXIT_SUCCESS;
	}
	enum action action = action_of(&argc, argv);
	if (cg_edge_settings_read(argc, argv, &settings, &err) != CG_OK) {
		(void)fprintf(stderr, "callgate-edge: %s\n", err.text);
		return 2;
	}
	cg_log_set_level(settings.level);
	if (action == CHECK_CONFIG) {
		(void)printf("callgate-edge: the settings are good\n");
		return EXIT_SUCCESS;
	}
	if (action == CHECK_ACCOUNT) {
		return cg_edge_check(&settings);
	}
	if (cg_edge_run(&settings, &err) != CG_OK) {
		cg_log(CG_LOG_ERROR, "could not start", "reason", err.text, NULL);
		return EXIT_FAILURE;
	}
	cg_log(CG_LOG_INFO, "ended", NULL);
	return EXIT_SUCCESS;
}
