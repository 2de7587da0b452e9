/*
 * A doubly linked list whose links live in its members.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_LIST_H
#define CG_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* A head, or a member's link.  A link that is in no list points to itself. */
struct cg_list {
	struct cg_list *next;
	struct cg_list *prev;
};

static inline void cg_list_init(struct cg_list *link)
{
	link->next = link;
	link->prev = link;
}

static inline bool cg_list_is_empty(const struct cg_list *head)
{
	return head->next == head;
}

static inline void cg_list_append(struct cg_list *head, struct cg_list *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

/* Removing a link that is in no list is harmless. */
static inline void cg_list_remove(struct cg_list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	cg_list_init(link);
}

/* The first link, taken out; NULL where the list is empty. */
static inline struct cg_list *cg_list_pop(struct cg_list *head)
{
	struct cg_list *first = head->next;

	if (first == head) {
		return NULL;
	}
	cg_list_remove(first);
	return first;
}

#endif /* CG_BASE_LIST_H */
