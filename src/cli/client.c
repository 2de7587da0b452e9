/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/client.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/answers.h"
#include "cli/output.h"

const char *const cg_client_durabilities[] = {"accepted", "committed", NULL};

enum cg_exit cg_client_open(struct cg_cli *cli)
{
	const struct cg_access *access = &cli->args.access;
	struct callgate_options options;
	char why[256] = "";

	if (cli->client != NULL) {
		return CG_EXIT_DONE;
	}
	if (cli->args.address == NULL) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--address", "unix:/path or host:port",
		    "the sidecar's address is missing: give --address or set CALLGATE_ADDRESS "
		    "(unix:/path or host:port)");
	}
	callgate_options_init(&options);
	options.address = cli->args.address;
	options.token = access->token_file == NULL ? access->token : NULL;
	options.token_file = access->token_file;
	options.tls_ca_file = access->ca_file;
	options.tls_cert_file = access->client_cert_file;
	options.tls_key_file = access->client_key_file;
	options.tls_server_name = access->server_name;
	options.deadline_ms = (uint32_t)cli->args.timeout_ms;
	cli->client = callgate_client_create(&options, why, sizeof why);
	if (cli->client == NULL) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--address", "unix:/path or host:port",
		    "--address \"%s\": %s", cli->args.address, why);
	}
	return CG_EXIT_DONE;
}

void cg_client_close(struct cg_cli *cli)
{
	callgate_client_close(cli->client);
	cli->client = NULL;
}

enum cg_exit cg_client_exit_of(enum callgate_status status)
{
	switch (status) {
	case CALLGATE_STATUS_OK:
		return CG_EXIT_DONE;
	case CALLGATE_STATUS_INVALID_ARGUMENT:
		return CG_EXIT_USAGE;
	case CALLGATE_STATUS_NOT_FOUND:
		return CG_EXIT_NOT_FOUND;
	case CALLGATE_STATUS_ALREADY_EXISTS:
	case CALLGATE_STATUS_FAILED_PRECONDITION:
	case CALLGATE_STATUS_OUT_OF_RANGE:
		return CG_EXIT_REFUSED;
	case CALLGATE_STATUS_PERMISSION_DENIED:
	case CALLGATE_STATUS_UNAUTHENTICATED:
		return CG_EXIT_FORBIDDEN;
	case CALLGATE_STATUS_CANCELLED:
	case CALLGATE_STATUS_DEADLINE_EXCEEDED:
	case CALLGATE_STATUS_RESOURCE_EXHAUSTED:
	case CALLGATE_STATUS_ABORTED:
	case CALLGATE_STATUS_UNAVAILABLE:
		return CG_EXIT_UNAVAILABLE;
	case CALLGATE_STATUS_UNKNOWN:
	case CALLGATE_STATUS_UNIMPLEMENTED:
	case CALLGATE_STATUS_INTERNAL:
	case CALLGATE_STATUS_DATA_LOSS:
		break;
	}
	return CG_EXIT_INCOMPATIBLE;
}

/* What the person can do now, where the code alone does not say it. */
static const char *advice(enum cg_exit code)
{
	return code == CG_EXIT_UNAVAILABLE
	    ? "; it may have happened: repeating the same command is safe"
	    : "";
}

static void add_detail(json_t *more, const struct callgate_error_detail *detail)
{
	cg_output_add_text(more, "reason", cg_answers_reason(detail->reason));
	if (detail->field[0] != '\0') {
		cg_output_add_text(more, "field", detail->field);
		cg_output_add_text(more, "bound", detail->bound);
	}
	if (detail->state != CALLGATE_CALL_STATE_UNSPECIFIED) {
		cg_output_add_text(more, "state", cg_answers_state(detail->state));
	}
	if (detail->has_settled) {
		json_object_set_new(more, "settled", cg_answers_settle(&detail->settled));
	}
	if (detail->retry_after_ms > 0) {
		cg_output_add_int(more, "retry_after_ms", detail->retry_after_ms);
	}
}

enum cg_exit cg_client_fail(const struct cg_cli *cli, const struct callgate_error *error)
{
	enum cg_exit code = cg_client_exit_of(error->status);
	json_t *more = json_object();
	char text[1024];

	cg_output_add_text(more, "status", cg_answers_status(error->status));
	if (error->has_detail) {
		add_detail(more, &error->detail);
	}
	(void)snprintf(text, sizeof text, "%s (%s)%s", error->message,
	    cg_answers_status(error->status), advice(code));
	return cg_output_error(cli, code, more, text);
}

const char *cg_client_currency(struct cg_cli *cli, const char *company)
{
	struct callgate_get_wallet_request request = {.company_id = company};
	const struct callgate_get_wallet_response *response;
	const struct callgate_error *error;

	if (!cli->args.json && cli->currency[0] == '\0' &&
	    callgate_get_wallet_sync(cli->client, &request, &response, &error) ==
	        CALLGATE_STATUS_OK &&
	    response->has_wallet) {
		(void)snprintf(
		    cli->currency, sizeof cli->currency, "%s", response->wallet.currency);
	}
	return cli->currency;
}

void cg_client_read_meta(const struct cg_args *args, struct cg_client_meta *ret_meta)
{
	ret_meta->count = args->meta_count;
	for (size_t i = 0; i < args->meta_count; i++) {
		/* The bounds admitted it: there is a '=', after at most 64 bytes. */
		const char *equals = strchr(args->meta[i], '=');
		size_t len = (size_t)(equals - args->meta[i]);
		memcpy(ret_meta->keys[i], args->meta[i], len);
		ret_meta->keys[i][len] = '\0';
		ret_meta->pairs[i] = (struct callgate_meta){ret_meta->keys[i], equals + 1};
	}
}

enum callgate_durability cg_client_durability(const struct cg_args *args)
{
	return cg_args_int(args, "durability", 1) == 0 ? CALLGATE_DURABILITY_ACCEPTED
	                                               : CALLGATE_DURABILITY_COMMITTED;
}
