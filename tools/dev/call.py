"""./dev call: somebody dials a number of a company of the development stack, and is told what happens.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid

NUMBER_ID, NUMBER, ASSISTANT = "pn-demo", "+15550100200", "demo-assistant"
# What a plan wants to be held for a minute to +1, and a little talk.
LEAST_MICROS = 100_000


def callgate(*words):
    done = subprocess.run(["callgate", *words, "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"callgate {' '.join(words)}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def sql(statement):
    return subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement,
                           os.environ["CALLGATE_DATABASE_URL"]],
                          capture_output=True, text=True, check=True).stdout.strip()


def stand_in(path, body=None):
    request = urllib.request.Request(os.environ["CALLGATE_DEV_STAND_IN"] + path,
                                     None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def company_of_the_number():
    """Made with the first call; the edge looks for new numbers each second."""
    company = sql(f"select company_id from callgate.edge_numbers where phone_number_id = '{NUMBER_ID}'")
    if not company:
        company = str(uuid.uuid4())
        callgate("wallet", "create", "--company", company)
        sql("insert into callgate.edge_numbers (phone_number_id, number, company_id, assistant_id)"
            f" values ('{NUMBER_ID}', '{NUMBER}', '{company}', '{ASSISTANT}')")
        time.sleep(2)
    available = callgate("balance", "--company", company)["available_micros"]
    if available < LEAST_MICROS:
        callgate("credit", "--company", company, "--amount-micros", str(LEAST_MICROS - available),
                 "--type", "top_up", "--reference", f"demo-{uuid.uuid4()}")
    return company


def talk(call_id, company, hang_up_at):
    """Until it has ended; says what is said on it, and the balance."""
    told = 0
    while True:
        call = stand_in(f"/stand-in/calls/{call_id}")
        for word in call["said"][told:]:
            print(f"  on the call: {word.get('content', word['type'])}", flush=True)
        told = len(call["said"])
        if call["status"] == "ended":
            print(f"ended: {call['endedReason']}", flush=True)
            return
        balance = callgate("balance", "--company", company)
        print(f"  available: {balance['available_micros']} micros", flush=True)
        if hang_up_at is not None and time.monotonic() >= hang_up_at:
            stand_in(f"/stand-in/calls/{call_id}/hang-up", {})
        time.sleep(1)


def main():
    parser = argparse.ArgumentParser(prog="./dev call", description=__doc__)
    parser.add_argument("--seconds", type=float, help="hang up then; else the money ends it")
    asked = parser.parse_args()
    company = company_of_the_number()
    print(f"company {company} is dialled on {NUMBER}", flush=True)
    call = stand_in("/stand-in/calls", {"phoneNumberId": NUMBER_ID})
    answer = call["answer"][1] or {}
    if "assistantOverrides" not in answer:
        sys.exit(f"not let in: {answer}")
    print(f"let in for at most {answer['assistantOverrides']['maxDurationSeconds']} s", flush=True)
    talk(call["id"], company, None if asked.seconds is None else time.monotonic() + asked.seconds)
    for _ in range(200):
        row = sql("select u.cost || ' cents for ' || (u.meta ->> 'duration_ms') || ' ms, entry ' ||"
                  f" (u.meta ->> 'entry_id') from usage_logs u where u.meta ->> 'call_id' = '{call['id']}'")
        if row:
            print(f"charged: {row}")
            print(f"more: callgate explain --company {company} {call['id']}")
            return
        time.sleep(0.1)
    sys.exit("its charge is not in the ledger after 20 s")


if __name__ == "__main__":
    main()
