/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/poller.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * What an epoll descriptor watches stands in its fdinfo, a line "tfd: <fd> events: ..."
 * each.  Counts them; whether `wanted_fd` is among them is in *ret_found.
 */
static int read_watched(int epoll_fd, int wanted_fd, bool *ret_found)
{
	char path[64];
	char line[256];
	int watched_fd = 0;
	int count = 0;

	*ret_found = false;
	(void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epoll_fd);
	FILE *file = fopen(path, "re");
	if (file == NULL) {
		return -1;
	}
	while (fgets(line, sizeof line, file) != NULL) {
		if (sscanf(line, "tfd: %d", &watched_fd) == 1) {
			count++;
			*ret_found = *ret_found || watched_fd == wanted_fd;
		}
	}
	(void)fclose(file);
	return count;
}

int cg_rpc_poller_find(int polled_fd)
{
	DIR *folder = opendir("/proc/self/fdinfo");
	int found_fd = -1;

	if (folder == NULL) {
		return -1;
	}
	for (struct dirent *entry = readdir(folder); entry != NULL && found_fd < 0;
	     entry = readdir(folder)) {
		char *end;
		bool watches = false;
		long fd = strtol(entry->d_name, &end, 10);
		if (end != entry->d_name && *end == '\0') {
			(void)read_watched((int)fd, polled_fd, &watches);
		}
		found_fd = watches ? (int)fd : -1;
	}
	(void)closedir(folder);
	return found_fd;
}

int cg_rpc_poller_count(int epoll_fd)
{
	bool found;

	return read_watched(epoll_fd, -1, &found);
}
