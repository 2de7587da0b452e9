/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "daemon/daemon.h"

static enum cg_log_level level_of(const char *name)
{
	static const char *const names[] = {[CG_LOG_DEBUG] = "debug",
	    [CG_LOG_INFO] = "info",
	    [CG_LOG_WARN] = "warn",
	    [CG_LOG_ERROR] = "error"};

	for (size_t i = 0; i < CG_COUNT_OF(names); i++) {
		if (strcmp(name, names[i]) == 0) {
			return (enum cg_log_level)i;
		}
	}
	CG_UNREACHABLE(); /* cg_config_read() has checked it. */
}

int main(int argc, char **argv)
{
	static struct cg_config config;
	struct cg_error err = {{0}};
	enum cg_config_action action = CG_CONFIG_RUN;

	if (cg_config_read(argc, argv, &config, &action, &err) != CG_OK) {
		(void)fprintf(stderr, "callgated: %s\n", err.text);
		return 2;
	}
	switch (action) {
	case CG_CONFIG_HELP:
		cg_config_print_help(stdout);
		return EXIT_SUCCESS;
	case CG_CONFIG_VERSION:
		(void)printf("callgated %s\n", CG_VERSION);
		return EXIT_SUCCESS;
	case CG_CONFIG_CHECK:
		(void)printf("callgated: the settings are good\n");
		return EXIT_SUCCESS;
	case CG_CONFIG_RUN:
		break;
	}

	cg_log_set_level(level_of(config.log_level));
	enum cg_status status = cg_daemon_run(&config, &err);
	if (status != CG_OK) {
		cg_log(CG_LOG_ERROR, "failed", "reason", err.text, NULL);
		cg_daemon_exit(EXIT_FAILURE);
	}
	cg_daemon_exit(EXIT_SUCCESS);
}
