/*
 * What the kernel knows of this process, under the names that every Prometheus client uses.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"

/* The fields of /proc/self/stat, counted from 1 as proc(5) does. */
#define STAT_STARTED 22

static void put_memory(void *owner, struct cg_metrics_out *out)
{
	uint64_t pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	(void)owner;
	if (file == NULL) {
		return; /* Out of descriptors: the sample is missing, nothing else. */
	}
	if (fscanf(file, "%*u %" SCNu64, &pages) == 1) {
		cg_metrics_put(out, NULL, (int64_t)pages * sysconf(_SC_PAGESIZE));
	}
	(void)fclose(file);
}

static void put_open_fds(void *owner, struct cg_metrics_out *out)
{
	DIR *folder = opendir("/proc/self/fd");
	int64_t count = 0;

	(void)owner;
	if (folder == NULL) {
		return;
	}
	for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
		count += entry->d_name[0] != '.' ? 1 : 0;
	}
	(void)closedir(folder);
	cg_metrics_put(out, NULL, count - 1); /* The folder's own. */
}

static void put_max_fds(void *owner, struct cg_metrics_out *out)
{
	struct rlimit limit;

	(void)owner;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		cg_metrics_put(out, NULL, (int64_t)limit.rlim_cur);
	}
}

static void put_cpu(void *owner, struct cg_metrics_out *out)
{
	struct timespec used;

	(void)owner;
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0) {
		cg_metrics_put(out, NULL, (int64_t)used.tv_sec * 1000000000 + used.tv_nsec);
	}
}

/* When we were started, in ticks since the machine was; 0: not known. */
static uint64_t started_ticks(void)
{
	char line[1024];
	uint64_t ticks = 0;
	FILE *file = fopen("/proc/self/stat", "re");

	if (file == NULL) {
		return 0;
	}
	/* The second field is a name in brackets, which may hold anything; the third follows. */
	char *at = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
	(void)fclose(file);
	for (int field = 3; at != NULL && field <= STAT_STARTED; field++) {
		at = strchr(at + 1, ' ');
	}
	if (at != NULL) {
		ticks = strtoull(at, NULL, 10);
	}
	return ticks;
}

static void put_start(void *owner, struct cg_metrics_out *out)
{
	struct timespec now;
	struct timespec since_boot;
	uint64_t ticks = started_ticks();

	(void)owner;
	if (ticks > 0 && clock_gettime(CLOCK_REALTIME, &now) == 0 &&
	    clock_gettime(CLOCK_BOOTTIME, &since_boot) == 0) {
		int64_t boot_ms = ((int64_t)now.tv_sec - since_boot.tv_sec) * 1000 +
		    (now.tv_nsec - since_boot.tv_nsec) / 1000000;
		cg_metrics_put(out, NULL, boot_ms + (int64_t)ticks * 1000 / sysconf(_SC_CLK_TCK));
	}
}

void cg_admin_measure_process(struct cg_metrics *metrics)
{
	static const struct cg_metric_family memory = {.name = "process_resident_memory_bytes",
	    .help = "Resident memory.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family open_fds = {
	    .name = "process_open_fds", .help = "Open descriptors.", .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family max_fds = {.name = "process_max_fds",
	    .help = "Descriptors that may be open.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family cpu = {.name = "process_cpu_seconds_total",
	    .help = "CPU time of user and system.",
	    .kind = CG_METRIC_COUNTER,
	    .decimals = 9};
	static const struct cg_metric_family start = {.name = "process_start_time_seconds",
	    .help = "When the process was started, since the Unix epoch.",
	    .kind = CG_METRIC_GAUGE,
	    .decimals = 3};

	cg_metrics_add(metrics, &memory, put_memory, NULL);
	cg_metrics_add(metrics, &open_fds, put_open_fds, NULL);
	cg_metrics_add(metrics, &max_fds, put_max_fds, NULL);
	cg_metrics_add(metrics, &cpu, put_cpu, NULL);
	cg_metrics_add(metrics, &start, put_start, NULL);
}
