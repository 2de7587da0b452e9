/*
 * libcallgate's answers as JSON, under the contract's field names and enum names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_ANSWERS_H
#define CG_CLI_ANSWERS_H

#include <callgate/client.h>
#include <jansson.h>

/* "DECISION_ALLOWED"; a number this version does not know is its ..._UNSPECIFIED. */
const char *cg_answers_decision(enum callgate_decision decision);
const char *cg_answers_state(enum callgate_call_state state);
const char *cg_answers_event_type(enum callgate_event_type type);
const char *cg_answers_entry_type(enum callgate_entry_type type);
const char *cg_answers_basis(enum callgate_duration_basis basis);
const char *cg_answers_reason(enum callgate_error_reason reason);

/* "NOT_FOUND". */
const char *cg_answers_status(enum callgate_status status);

/* {"event", "resume_token", "as_of_ms"}; the event is null in a heartbeat. */
json_t *cg_answers_watch(const struct callgate_watch_response *from);

json_t *cg_answers_wallet(const struct callgate_wallet *from);
json_t *cg_answers_balance(const struct callgate_get_balance_response *from);
json_t *cg_answers_call(const struct callgate_call *from);
json_t *cg_answers_authorize(const struct callgate_authorize_response *from);
json_t *cg_answers_start(const struct callgate_start_response *from);
json_t *cg_answers_stop(const struct callgate_stop_response *from);
json_t *cg_answers_settle(const struct callgate_settle_response *from);
json_t *cg_answers_cancel(const struct callgate_cancel_response *from);
json_t *cg_answers_adopt(const struct callgate_adopt_response *from);
json_t *cg_answers_credit(const struct callgate_credit_response *from);
json_t *cg_answers_charge(const struct callgate_charge_response *from);

#endif /* CG_CLI_ANSWERS_H */
