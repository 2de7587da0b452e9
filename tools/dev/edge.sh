# shellcheck shell=bash
# The edge of the development stack, and the stand-in of Vapi that it speaks to until real keys are
# set (VAPI_API_KEY and VAPI_WEBHOOK_SECRET in the environment).  Loopback only.
#
# SPDX-License-Identifier: Apache-2.0

CG_DEMO_NUMBER=+15550100200
CG_DEMO_NUMBER_ID=pn-demo

# Two ports nobody has, written down so that they stay.
choose_ports() {
	[ -f "$CG_STATE/ports" ] || /usr/bin/python3 - >"$CG_STATE/ports.new" <<-'EOF2'
		import socket

		# Kept open until both are known, so that they differ.
		sockets = []
		for wanted in (8480, 8499):
		    for port in (wanted, 0):
		        s = socket.socket()
		        try:
		            s.bind(("127.0.0.1", port))
		        except OSError:
		            continue
		        sockets.append(s)
		        break
		print(*(s.getsockname()[1] for s in sockets))
	EOF2
	[ ! -f "$CG_STATE/ports.new" ] || mv "$CG_STATE/ports.new" "$CG_STATE/ports"
	read -r CG_EDGE_PORT CG_STAND_IN_PORT <"$CG_STATE/ports"
}

is_stand_in() {
	[ -z "${VAPI_API_KEY-}" ]
}

stand_in_up() {
	is_gone stand-in || return 0
	say "start the stand-in of Vapi"
	PYTHONPATH="$CG_ROOT/tests" spawn stand-in /usr/bin/python3 -B -m support.vapi \
		--port "$CG_STAND_IN_PORT" --webhook-url "http://127.0.0.1:$CG_EDGE_PORT/api/webhooks/vapi" \
		--number "$CG_DEMO_NUMBER_ID=$CG_DEMO_NUMBER"
}

edge_is_serving() {
	/usr/bin/python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=1)' \
		"http://127.0.0.1:$CG_EDGE_PORT/healthz" 2>/dev/null
}

# The number of the demonstration is one of the stand-in alone.
edge_up() {
	choose_ports
	local flags=(--listen "127.0.0.1:$CG_EDGE_PORT" --gate "$(sidecar_address 1)"
		--database-url "postgresql://callgate_edged@/callgate?host=$CG_PG&port=$CG_PG_PORT")
	if is_stand_in; then
		stand_in_up
		flags+=(--vapi-url "http://127.0.0.1:$CG_STAND_IN_PORT" --control-hosts 127.0.0.1
			--allow-private 1 --look-after-ms 10000 --sweep-ms 30000)
	fi
	if is_gone callgate-edge; then
		say "start callgate-edge"
		VAPI_API_KEY="${VAPI_API_KEY-stand-in-key}" \
			VAPI_WEBHOOK_SECRET="${VAPI_WEBHOOK_SECRET-stand-in-secret}" \
			spawn callgate-edge "$CG_BIN/callgate-edge" "${flags[@]}"
	fi
	if ! wait_for 20 edge_is_serving; then
		show_log "$CG_STATE/callgate-edge.log"
		die "callgate-edge is not serving"
	fi
}

edge_down() {
	end callgate-edge TERM 20
	end stand-in TERM 10
}

# One call through the stand-in, told as it happens.
stack_call() {
	[ -d "$CG_STATE" ] || die "no stack runs: ./dev up"
	read_places
	is_stand_in || die "VAPI_API_KEY is set: calls come from Vapi"
	choose_ports
	eval "$(stack_env)"
	CALLGATE_DEV_STAND_IN="http://127.0.0.1:$CG_STAND_IN_PORT" exec /usr/bin/python3 -B tools/dev/call.py "$@"
}
