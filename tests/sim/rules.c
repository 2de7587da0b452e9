/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

struct rule {
	const char *name;
	const char *says;
};

/* Where a rule stands in the library: the text that holds it, and what is left without it. */
struct change {
	enum sim_rule rule;
	const char *text;
	const char *without;
};

static const struct rule rules[SIM_RULE_COUNT] = {
#define X(value, name, says) [SIM_RULE_##value] = {name, says},
    SIM_RULES(X)
#undef X
};

static const struct change changes[] = {
    /* No rule's, and always so: what takes a quarter of an hour takes seconds here. */
    {SIM_RULE_COUNT, "ABANDON_MS = 900000", "ABANDON_MS = 9000"},
    {SIM_RULE_MARK, "head.state == SERVING and marks[keys[1]] == epoch", "head.state == SERVING"},
    {SIM_RULE_EPOCH, "head.epoch == epoch and head.state == SERVING and marks[keys[1]] == epoch",
        "head.state == SERVING and marks[keys[1]] == head.epoch"},
    {SIM_RULE_HISTORY, "if run_id ~= head.run_id or replid ~= head.replid then", "if false then"},
    {SIM_RULE_REPLID, "if run_id ~= head.run_id or replid ~= head.replid then",
        "if run_id ~= head.run_id then"},
    {SIM_RULE_IDS, "format('%.0f-*', head.epoch)", "'1-*'"},
    {SIM_RULE_IDS, "= USAGE, -cost, id, head.epoch", "= USAGE, -cost, id, 1"},
    {SIM_RULE_IDS, "e.epoch = head.epoch", "e.epoch = 1"},
    {SIM_RULE_IDS, "POSTED, entry.amount, head.epoch, n", "POSTED, entry.amount, 1, n"},
    {SIM_RULE_IDS, "posted(head.epoch, n, false)", "posted(1, n, false)"},
    {SIM_RULE_GENERATIONS, "return w_generation >= head.floor", "return true"},
    {SIM_RULE_LOAD_ABSENT, "local there = open(nil, terms_text)",
        "local there = open(nil, terms_text) and false"},
    {SIM_RULE_KEYS, "return text and parse_ended(text) or nil",
        "return text and parse_ended(text).state < 3 and parse_ended(text) or nil"},
    {SIM_RULE_KEYS_KEPT, "if head.trimmed_epoch < head.older_epoch or",
        "if false and head.trimmed_epoch < head.older_epoch or false and"},
    {SIM_RULE_NOT_AFTER, "elseif a.not_after and a.not_after > 0", "elseif false"},
    {SIM_RULE_HOLD, "not terms_unlimited and left < deal.hold then", "false then"},
    {SIM_RULE_ASK_LEDGER, "not a.asked then", "false then"},
    {SIM_RULE_TELL_TRIMMED, "condition, head.epoch, head.trimmed_epoch, head.trimmed_n",
        "condition, head.epoch, 0, 0"},
    {SIM_RULE_TELL_TRIMMED, "last_n, head.trimmed_epoch, head.trimmed_n)", "last_n, 0, 0)"},
};

static enum sim_rule away = SIM_RULE_COUNT;

bool sim_rule_holds(enum sim_rule rule)
{
	return rule != away;
}

void sim_rule_take_away(enum sim_rule rule)
{
	away = rule;
}

void sim_rules_restore(void)
{
	away = SIM_RULE_COUNT;
}

enum sim_rule sim_rule_of(const char *name)
{
	for (unsigned i = 0; i < SIM_RULE_COUNT; i++) {
		if (strcmp(rules[i].name, name) == 0) {
			return (enum sim_rule)i;
		}
	}
	return SIM_RULE_COUNT;
}

const char *sim_rule_name(enum sim_rule rule)
{
	return rules[rule].name;
}

const char *sim_rule_says(enum sim_rule rule)
{
	return rules[rule].says;
}

static char *copy_text(struct cg_view text)
{
	char *copy = malloc(text.len + 1);

	CG_ASSERT(copy != NULL);
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	return copy;
}

static char *change_at(char *text, char *at, const struct change *change)
{
	size_t before = (size_t)(at - text);
	size_t size = strlen(text) + strlen(change->without) + 1;
	char *changed = malloc(size);

	CG_ASSERT(changed != NULL);
	(void)snprintf(changed, size, "%.*s%s%s", (int)before, text, change->without,
	    at + strlen(change->text));
	free(text);
	return changed;
}

/* Wherever it stands.  A rule that is not where it was must not be taken away by halves. */
static char *change_text(char *text, const struct change *change)
{
	char *at = strstr(text, change->text);

	if (at == NULL) {
		(void)fprintf(stderr, "not in the library: %s\n", change->text);
		exit(2);
	}
	while (at != NULL) {
		size_t behind = (size_t)(at - text) + strlen(change->without);
		text = change_at(text, at, change);
		at = strstr(text + behind, change->text);
	}
	return text;
}

/* Kept from world to world, and so is what was compiled of it. */
struct cg_view sim_rules_library(struct cg_view text)
{
	static char *changed;
	static enum sim_rule changed_without;

	if (changed == NULL || changed_without != away) {
		free(changed);
		changed = copy_text(text);
		changed_without = away;
		for (size_t i = 0; i < CG_COUNT_OF(changes); i++) {
			if (changes[i].rule == SIM_RULE_COUNT || !sim_rule_holds(changes[i].rule)) {
				changed = change_text(changed, &changes[i]);
			}
		}
	}
	return cg_view_of(changed);
}
