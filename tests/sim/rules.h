/*
 * The rules of ledger.md, each with a switch that takes it away: seeds must fail then.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_RULES_H
#define CG_SIM_RULES_H

#include <stdbool.h>

#include "base/view.h"

/* X(value, name, what the rule says) */
#define SIM_RULES(X)                                                                               \
	X(MARK, "mark",                                                                            \
	    "a function is refused unless this server's own memory confirmed the epoch")           \
	X(EPOCH, "epoch", "every function call carries the epoch, and is refused under another")   \
	X(HISTORY, "history",                                                                      \
	    "hello confirms a head only on the history that it was confirmed on")                  \
	X(REPLID, "replid", "a history is the replication's id too, not the server's alone")       \
	X(IDS, "ids", "an entry's id begins with its epoch, so that none is given twice")          \
	X(GENERATIONS, "generations", "wallets of a dropped history count as absent")              \
	X(LOAD_ABSENT, "load-absent", "a wallet is loaded only where it is absent")                \
	X(KEYS, "keys", "the store remembers what was charged under a key")                        \
	X(KEYS_KEPT, "keys-kept", "a key is not dropped before its entry is trimmed")              \
	X(NOT_AFTER, "not-after", "what was answered too late does not begin afterwards")          \
	X(HOLD, "hold", "a call begins only where all that it may cost is there")                  \
	X(ASK_LEDGER, "ask-ledger", "a key that the store does not know is asked of the ledger")   \
	X(KNOWN_EPOCH, "known-epoch",                                                              \
	    "what was read in the ledger is sent under the epoch before it")                       \
	X(SERVED, "served", "only the history that was served last is the latest")                 \
	X(SERVED_FROM, "served-from",                                                              \
	    "a fence that reached a replica does not make its history the latest")                 \
	X(BEGINNING, "beginning",                                                                  \
	    "what is left of the history that was served last is the latest")                      \
	X(REPAIR, "repair",                                                                        \
	    "wallets with ledger entries above the stream's end take the ledger's")                \
	X(FENCE_LEDGER, "fence-ledger",                                                            \
	    "a recovery fences the flushers before it fences the store")                           \
	X(READ_AFTER, "read-after", "the ledger is read only after the fence")                     \
	X(TELL_TRIMMED, "tell-trimmed", "a ledger behind what was trimmed is refused")             \
	X(TRIM_MARGIN, "trim-margin", "entries stay in the stream for the margin")                 \
	X(PASSED, "passed", "when the ledger had what is noted in it, and lost with it")           \
	X(FLUSH_EPOCH, "flush-epoch", "a flush under another epoch than the cursor's is fenced")   \
	X(FLUSH_COMPARE, "flush-compare",                                                          \
	    "a flush that finds the cursor elsewhere changes nothing")                             \
	X(FLUSH_ATOMIC, "flush-atomic", "the cursor moves in the transaction of its entries")      \
	X(DUPLICATES, "duplicates", "an entry under a key that is booked is taken back")           \
	X(COMMITTED_EPOCH, "committed-epoch",                                                      \
	    "COMMITTED counts while the entry's epoch is in force")                                \
	X(REPLAYED_WAITS, "replayed-waits", "a replayed COMMITTED answer waits just the same")     \
	X(SET_ASIDE, "set-aside", "what is refused in every form is set aside, the rest goes on")  \
	X(ASIDE_LAST, "aside-last", "a load or a repair takes what was set aside last")            \
	X(ASIDE_WAITS, "aside-waits", "COMMITTED does not count for what is set aside")            \
	X(RETRY_WHOLE, "retry-whole", "a retry books all that is set aside of a wallet, or none")  \
	X(DECLARED, "declared", "a function declares every key that it touches")                   \
	X(RECEIPT_FIRST, "receipt-first",                                                          \
	    "a credit's receipt is written before the function is called")                         \
	X(RECEIPTS_SWEPT, "receipts-swept", "a receipt without an entry is applied again")

enum sim_rule {
#define X(value, name, says) SIM_RULE_##value,
	SIM_RULES(X)
#undef X
	SIM_RULE_COUNT
};

/* Whether the rule holds in this run. */
bool sim_rule_holds(enum sim_rule rule);

void sim_rule_take_away(enum sim_rule rule);
void sim_rules_restore(void);
/* SIM_RULE_COUNT where there is none of that name. */
enum sim_rule sim_rule_of(const char *name);
const char *sim_rule_name(enum sim_rule rule);
const char *sim_rule_says(enum sim_rule rule);

/* The library's text with what was taken away left out. */
struct cg_view sim_rules_library(struct cg_view text);

#endif /* CG_SIM_RULES_H */
