/*
 * One command of the operator's tool: what it is called, which flags it takes, and the
 * function that runs it.  The flags are a table, so that parsing, bounds, error texts and
 * --help come from one place and cannot disagree.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_COMMAND_H
#define CG_CLI_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

struct cg_cli;

/* What a script can do now; documented in docs/cli.md. */
enum cg_exit {
	CG_EXIT_DONE = 0,
	CG_EXIT_REFUSED =
	    1, /* a denial, or the state or the key does not admit it; nothing changed */
	CG_EXIT_USAGE = 2,        /* a flag, an argument or a file is malformed; nothing changed */
	CG_EXIT_NOT_FOUND = 3,    /* no such wallet, call or plan; nothing changed */
	CG_EXIT_UNAVAILABLE = 4,  /* out of reach or too slow; may have happened: repeat the same */
	CG_EXIT_FORBIDDEN = 5,    /* credentials or rights; nothing changed */
	CG_EXIT_INCOMPATIBLE = 6, /* a bug, or versions that do not fit together */
	CG_EXIT_WRONG = 7,        /* audit: a difference; doctor: something must be changed */
	CG_EXIT_WARNED = 8,       /* doctor: nothing worse than a warning */
};

enum cg_flag_kind {
	CG_FLAG_SWITCH,      /* takes no value */
	CG_FLAG_ON_OFF,      /* "on" or "off", read as 1 or 0 */
	CG_FLAG_INT,         /* min..max, see not_zero */
	CG_FLAG_UUID,        /* 36 characters */
	CG_FLAG_ID,          /* 1..128 bytes of printable ASCII */
	CG_FLAG_RESOURCE,    /* [a-z][a-z0-9_]{0,63} */
	CG_FLAG_DESTINATION, /* empty or E.164 with '+' */
	CG_FLAG_PREFIX,      /* of a rate: empty or +1..15 digits */
	CG_FLAG_CURRENCY,    /* three lower-case letters */
	CG_FLAG_PLAN,        /* 1..64 bytes of [a-z0-9_.-], beginning with a letter or digit */
	CG_FLAG_CHOICE,      /* one of `choices`, read as its index */
	CG_FLAG_META,        /* KEY=VALUE, may be repeated */
	CG_FLAG_TEXT,        /* 0..256 bytes of UTF-8 */
	CG_FLAG_PLAIN,       /* 1..4095 bytes: a path, an address */
	CG_FLAG_TOKEN,       /* 1..65536 bytes of printable ASCII */
	CG_FLAG_EVENTS,      /* of `choices`, separated by commas, read as a set of bits */
	CG_FLAG_DATE,        /* YYYY-MM-DD */
	CG_FLAG_KIND_COUNT
};

struct cg_flag {
	const char *name; /* without dashes; of an operand, as the help shows it: "CALL_ID" */
	enum cg_flag_kind kind;
	bool required;
	bool operand;               /* taken by its place, not by its name */
	bool not_zero;              /* INT: 0 is refused */
	int64_t min;                /* INT */
	int64_t max;                /* INT */
	const char *const *choices; /* CHOICE and EVENTS: ended by NULL */
	const char *help;
};

#define CG_FLAG_COMPANY                                                                            \
	{                                                                                          \
		.name = "company", .kind = CG_FLAG_UUID, .required = true,                         \
		.help = "the company's UUID"                                                       \
	}
#define CG_FLAG_CALL_ID                                                                            \
	{                                                                                          \
		.name = "CALL_ID", .kind = CG_FLAG_ID, .required = true, .operand = true,          \
		.help = "the call's id, its idempotency key"                                       \
	}
#define CG_FLAGS_END                                                                               \
	{                                                                                          \
		.name = NULL                                                                       \
	}

struct cg_command {
	const char *name; /* one word or two: "balance", "wallet create" */
	const char *summary;
	const char *details;         /* further lines of --help, or NULL */
	const struct cg_flag *flags; /* ended by CG_FLAGS_END; operands in their order */
	bool uses_gate;              /* the client is open when `run` is called */
	enum cg_exit (*run)(struct cg_cli *cli);
};

/* Every command, ended by name NULL; the families' files define them. */
extern const struct cg_command cg_commands_gate[];
extern const struct cg_command cg_commands_wallet[];
extern const struct cg_command cg_commands_account[];
extern const struct cg_command cg_commands_calls[];
extern const struct cg_command cg_commands_explain[];
extern const struct cg_command cg_commands_demo[];
extern const struct cg_command cg_commands_plan[];
extern const struct cg_command cg_commands_rate[];
extern const struct cg_command cg_commands_migrate[];
extern const struct cg_command cg_commands_shadow[];
extern const struct cg_command cg_commands_margin[];
extern const struct cg_command cg_commands_watch[];
extern const struct cg_command cg_commands_audit[];
extern const struct cg_command cg_commands_doctor[];
extern const struct cg_command cg_commands_quarantine[];
extern const struct cg_command cg_commands_token[];

#endif /* CG_CLI_COMMAND_H */
