/*
 * Times, numbers and reasons, as Vapi writes them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <time.h>

#include "edge/json/doc.h"
#include "edge/vapi/message.h"

/* 2001 in milliseconds, the year 5138 in seconds: what is less counts as seconds. */
#define MILLISECONDS_FROM INT64_C(100000000000)
#define LATEST_MS         INT64_C(32503680000000) /* the year 3000 */

static bool take_digits(const char **at, int count, int *ret_value)
{
	int value = 0;

	for (int i = 0; i < count; i++, (*at)++) {
		if (**at < '0' || **at > '9') {
			return false;
		}
		value = value * 10 + (**at - '0');
	}
	*ret_value = value;
	return true;
}

static bool take(const char **at, char c)
{
	if (**at != c) {
		return false;
	}
	(*at)++;
	return true;
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar. */
static int64_t days_of(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Up to milliseconds; further digits are dropped. */
static int fraction_ms(const char **at)
{
	int ms = 0;
	int place = 100;

	if (**at != '.') {
		return 0;
	}
	for ((*at)++; **at >= '0' && **at <= '9'; (*at)++) {
		ms += (**at - '0') * place;
		place /= 10;
	}
	return ms;
}

static bool take_offset(const char **at, int *ret_minutes)
{
	int hours = 0;
	int minutes = 0;

	*ret_minutes = 0;
	if (take(at, 'Z') || take(at, 'z')) {
		return true;
	}
	char sign = **at;
	if (sign != '+' && sign != '-') {
		return false; /* A time without an offset is no instant. */
	}
	(*at)++;
	if (!take_digits(at, 2, &hours)) {
		return false;
	}
	(void)take(at, ':');
	if (!take_digits(at, 2, &minutes) || hours > 23 || minutes > 59) {
		return false;
	}
	*ret_minutes = (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
	return true;
}

static int64_t parse_iso(const char *at)
{
	int year = 0;
	int month = 0;
	int day = 0;
	int hour = 0;
	int minute = 0;
	int second = 0;
	int offset = 0;

	if (!take_digits(&at, 4, &year) || !take(&at, '-') || !take_digits(&at, 2, &month) ||
	    !take(&at, '-') || !take_digits(&at, 2, &day) ||
	    !(take(&at, 'T') || take(&at, ' ') || take(&at, 't')) || !take_digits(&at, 2, &hour) ||
	    !take(&at, ':') || !take_digits(&at, 2, &minute) || !take(&at, ':') ||
	    !take_digits(&at, 2, &second)) {
		return 0;
	}
	int ms = fraction_ms(&at);
	if (!take_offset(&at, &offset) || *at != '\0' || year < 1970 || month < 1 || month > 12 ||
	    day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) {
		return 0;
	}
	int64_t minutes = (days_of(year, month, day) * 24 + hour) * 60 + minute - offset;
	return (minutes * 60 + second) * 1000 + ms;
}

int64_t cg_vapi_time_ms(struct cg_view value)
{
	char text[40];
	int64_t at = 0;

	if (cg_doc_string(value, text, sizeof text) && strchr(text, '-') != NULL) {
		at = parse_iso(text);
	} else if (!cg_doc_decimal(value, 0, &at) || at < 0) {
		return 0;
	} else if (at < MILLISECONDS_FROM) {
		/* Seconds may have a fraction. */
		if (!cg_doc_decimal(value, 3, &at)) {
			return 0;
		}
	}
	return at > 0 && at <= LATEST_MS ? at : 0;
}

void cg_vapi_format_time(int64_t at_ms, char text[32])
{
	time_t seconds = (time_t)(at_ms / 1000);
	struct tm utc = {0};
	char whole[24] = "";

	(void)gmtime_r(&seconds, &utc);
	(void)strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &utc);
	(void)snprintf(text, 32, "%s.%03dZ", whole, (int)(at_ms % 1000));
}

bool cg_vapi_is_e164(const char *number)
{
	size_t len = strlen(number);

	if (len < 3 || len > 16 || number[0] != '+' || number[1] < '1' || number[1] > '9') {
		return false;
	}
	return strspn(number + 1, "0123456789") == len - 1;
}

static const struct {
	const char *prefix;
	enum cg_vapi_reason reason;
} reasons[] = {
    /* The more particular first. */
    {"call.start.error-subscription-", CG_VAPI_REASON_ACCOUNT},
    {"call.start.error-", CG_VAPI_REASON_START},
    {"call.in-progress.error-", CG_VAPI_REASON_FAULT},
    {"pipeline-", CG_VAPI_REASON_FAULT},
    {"worker-shutdown", CG_VAPI_REASON_FAULT},
    {"phone-call-provider-closed-websocket", CG_VAPI_REASON_FAULT},
    {"assistant-request-", CG_VAPI_REASON_GATE},
    {"assistant-forwarded-call", CG_VAPI_REASON_TRANSFERRED},
    {"customer-ended-call-before-warm-transfer", CG_VAPI_REASON_TRANSFERRED},
    {"customer-ended-call-after-warm-transfer-attempt", CG_VAPI_REASON_TRANSFERRED},
    {"customer-ended-call-during-transfer", CG_VAPI_REASON_TRANSFERRED},
    {"call.forwarding.", CG_VAPI_REASON_TRANSFERRED},
    {"customer-busy", CG_VAPI_REASON_NOT_CONNECTED},
    {"customer-did-not-", CG_VAPI_REASON_NOT_CONNECTED},
    {"twilio-failed-to-connect-call", CG_VAPI_REASON_NOT_CONNECTED},
    {"twilio-reported-customer-misdialed", CG_VAPI_REASON_NOT_CONNECTED},
    {"vonage-failed-to-connect-call", CG_VAPI_REASON_NOT_CONNECTED},
    {"vonage-rejected", CG_VAPI_REASON_NOT_CONNECTED},
    {"assistant-join-timed-out", CG_VAPI_REASON_NOT_CONNECTED},
    {"call.ringing.", CG_VAPI_REASON_NOT_CONNECTED},
    {"scheduled-call-deleted", CG_VAPI_REASON_NOT_CONNECTED},
};

enum cg_vapi_reason cg_vapi_reason_of(const char *ended_reason)
{
	for (size_t i = 0; i < CG_COUNT_OF(reasons); i++) {
		if (strncmp(ended_reason, reasons[i].prefix, strlen(reasons[i].prefix)) == 0) {
			return reasons[i].reason;
		}
	}
	return CG_VAPI_REASON_NORMAL;
}
