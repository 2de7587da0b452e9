# shellcheck shell=bash
# The development stack: a private Redis, a private Postgres, sidecars.  Unix sockets only.
#
# Everything lives under one directory.  A process is known by its pid, its start time and
# the boot, so that a recycled pid is never taken for ours, and never ended by us.
#
# SPDX-License-Identifier: Apache-2.0

CG_STATE="$(realpath -m "${CALLGATE_DEV_DIR:-$CG_ROOT/.dev}")"
CG_PG_BIN=/usr/lib/postgresql/15/bin
CG_PG_PORT=5432 # only a part of the socket's name
CG_PRESET="${CALLGATE_DEV_PRESET:-release}"
CG_BIN="$CG_ROOT/build/$CG_PRESET/bin"
case "$CG_STATE" in
*[\'\"%\?\&\#\ \\]* | *$'\n'*) die "CALLGATE_DEV_DIR: no blanks, quotes or % ? & # in it, please: $CG_STATE" ;;
esac

# A socket's path has room for 107 bytes, and the postgres user must be able to reach its
# files: where the state directory does not serve, a short one under /tmp does, named after
# it.  Which one was chosen is written down.
short_directory() {
	printf '/tmp/callgate-%s' "$(printf '%s' "$CG_STATE" | sha256sum | cut -c1-12)"
}

# own_directory PATH: made if need be; ours alone, since its name can be guessed.
own_directory() {
	[ -e "$1" ] || [ -L "$1" ] || mkdir -m 700 "$1"
	if [ ! -O "$1" ] || [ -L "$1" ]; then
		die "$1 belongs to somebody else"
	fi
}

postgres_reaches() {
	! is_root || (cd / && runuser -u postgres -- test -x "$1")
}

choose_directories() {
	mkdir -p "$CG_STATE"
	touch "$CG_STATE/.callgate-dev"
	# A copied directory is not the one that was written down.
	if [ "$(head -n 1 "$CG_STATE/places" 2>/dev/null)" != "$CG_STATE" ]; then
		local run="$CG_STATE/run" pg="$CG_STATE/postgres" short
		short="$(short_directory)"
		local longest="$pg/.s.PGSQL.$CG_PG_PORT.lock"
		[ ${#longest} -le 107 ] || run="$short/run"
		if [ ${#longest} -gt 107 ] || ! postgres_reaches "$CG_STATE"; then
			pg="$short/postgres"
		fi
		printf '%s\n' "$CG_STATE" "$run" "$pg" >"$CG_STATE/places.new"
		mv "$CG_STATE/places.new" "$CG_STATE/places"
	fi
	read_places
	case "$CG_RUN$CG_PG" in
	*/tmp/callgate-*)
		own_directory "$(short_directory)"
		chmod 711 "$(short_directory)"
		;;
	esac
	mkdir -p "$CG_RUN" "$CG_PG"
	chmod 700 "$CG_RUN" "$CG_PG"
	! is_root || chown postgres "$CG_PG"
}

read_places() {
	CG_RUN="$CG_STATE/run" CG_PG="$CG_STATE/postgres"
	local written
	mapfile -t written < <(cat "$CG_STATE/places" 2>/dev/null)
	if [ "${written[0]-}" = "$CG_STATE" ]; then
		CG_RUN="${written[1]}" CG_PG="${written[2]}"
	fi
	CG_REDIS_SOCKET="$CG_RUN/redis.sock"
	CG_REDIS_URL="unix://$CG_REDIS_SOCKET"
	CG_OWNER_URL="postgresql://postgres@/callgate?host=$CG_PG&port=$CG_PG_PORT"
	CG_SIDECAR_URL="postgresql://callgated@/callgate?host=$CG_PG&port=$CG_PG_PORT"
}

# identity PID: what a pid file holds; false where there is no such process.
identity() {
	local stat
	stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
	# The start time is the 22nd field; the second is a name that may hold anything up to ')'.
	local fields
	read -ra fields <<<"${stat##*)}"
	[ "${fields[0]}" != Z ] || return 1
	printf '%s %s %s\n' "$1" "${fields[19]}" "$(cat /proc/sys/kernel/random/boot_id)"
}

# pid_of NAME: of the process that we started under this name, if it lives.
pid_of() {
	local pid rest
	[ -f "$CG_STATE/$1.pid" ] && read -r pid rest <"$CG_STATE/$1.pid" || return 1
	[ "$(identity "$pid")" = "$pid $rest" ] || return 1
	printf '%s' "$pid"
}

is_gone() {
	! pid_of "$1" >/dev/null
}

remember() {
	identity "$2" >"$CG_STATE/$1.pid" || die "$1 ended at once; its log: $CG_STATE/$1.log"
}

# spawn NAME COMMAND...: in the background, of its own session, its output in NAME.log.
spawn() {
	local name="$1"
	shift
	setsid "$@" </dev/null >>"$CG_STATE/$name.log" 2>&1 9>&- &
	remember "$name" $!
	disown
}

# end NAME SIGNAL SECONDS: by pid; SIGKILL where that was not enough.
end() {
	local pid
	if pid="$(pid_of "$1")"; then
		say "end $1 ($pid)"
		kill "-$2" "$pid" 2>/dev/null || true
		if ! wait_for "$3" is_gone "$1"; then
			kill -KILL "$pid" 2>/dev/null || true
			wait_for 5 is_gone "$1" || die "$1 ($pid) does not end"
		fi
	fi
	rm -f "$CG_STATE/$1.pid"
}

show_log() {
	printf -- '-- the end of %s\n' "$1" >&2
	tail -n 40 "$1" >&2 || true
}

redis_answers() {
	# Whatever it says, also that it is still loading: it lives.
	timeout 2 redis-cli -s "$CG_REDIS_SOCKET" ping >/dev/null 2>&1
}

redis_is_ready() {
	[ "$(timeout 2 redis-cli -s "$CG_REDIS_SOCKET" ping 2>/dev/null)" = PONG ]
}

redis_up() {
	if ! is_gone redis; then
		! wait_for 3 redis_answers || return 0
		end redis TERM 10 # it lives and cannot be reached: its socket was taken away
	fi
	say "start redis"
	mkdir -p "$CG_STATE/redis"
	rm -f "$CG_REDIS_SOCKET"
	spawn redis redis-server --port 0 --unixsocket "$CG_REDIS_SOCKET" --unixsocketperm 700 \
		--dir "$CG_STATE/redis" --appendonly yes --appendfsync everysec --rdbcompression no --save '' \
		--auto-aof-rewrite-min-size 1gb --maxmemory-policy noeviction --daemonize no
}

as_postgres() {
	if is_root; then
		(cd / && runuser -u postgres -- "$@")
	else
		"$@"
	fi
}

postgres_answers() {
	"$CG_PG_BIN/pg_isready" -q -t 2 -h "$CG_PG" -p "$CG_PG_PORT"
}

# A pid file of a server that is gone may name a process of somebody else by now, and would
# keep Postgres from starting.
forget_dead_postgres() {
	local pid
	[ -f "$CG_PG/data/postmaster.pid" ] || return 0
	read -r pid <"$CG_PG/data/postmaster.pid" || true
	case "$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" in
	*postgres*"$CG_PG/data"*) ;;
	*) rm -f "$CG_PG/data/postmaster.pid" ;;
	esac
}

start_postgres() {
	as_postgres "$CG_PG_BIN/pg_ctl" -D "$CG_PG/data" -l "$CG_PG/postgres.log" -w -t 60 start \
		-o "-k '$CG_PG' -p $CG_PG_PORT -c listen_addresses=''" >/dev/null 2>&1 9>&-
}

postgres_up() {
	if ! is_gone postgres; then
		! wait_for 3 postgres_answers || return 0
		end postgres INT 20
	fi
	if [ ! -f "$CG_PG/data/PG_VERSION" ]; then
		say "make the database cluster"
		rm -rf "$CG_PG/data.new"
		quietly as_postgres "$CG_PG_BIN/initdb" -D "$CG_PG/data.new" -U postgres -A trust -E UTF8 \
			--locale=C.UTF-8 --data-checksums || die "initdb failed"
		as_postgres mv "$CG_PG/data.new" "$CG_PG/data"
	fi
	say "start postgres"
	forget_dead_postgres
	# After a kill -9 the last backends take a moment to notice; until then it refuses.
	if ! wait_for 30 start_postgres; then
		show_log "$CG_PG/postgres.log"
		die "postgres does not start"
	fi
	local pid
	read -r pid <"$CG_PG/data/postmaster.pid"
	remember postgres "$pid"
}

sql() {
	psql -X -q -v ON_ERROR_STOP=1 "$CG_OWNER_URL" "$@"
}

# The database, its tables, and the roles that sidecars and the edge log in with: least privilege.
migrate() {
	if ! psql -X -q "$CG_OWNER_URL" -c 'select 1' >/dev/null 2>&1; then
		"$CG_PG_BIN/createdb" -h "$CG_PG" -p "$CG_PG_PORT" -U postgres callgate
	fi
	quietly env CALLGATE_DATABASE_URL="$CG_OWNER_URL" "$CG_BIN/callgate" migrate ||
		die "callgate migrate failed"
	sql >/dev/null <<-'EOF'
		set client_min_messages = warning;
		do $$ begin
			if not exists (select from pg_roles where rolname = 'callgated') then
				create role callgated login;
			end if;
			grant callgate_sidecar to callgated;
			if not exists (select from pg_roles where rolname = 'callgate_edged') then
				create role callgate_edged login;
			end if;
			grant callgate_edge to callgate_edged;
		end $$;
	EOF
}

sidecar_address() {
	printf 'unix:%s/callgated-%s.sock' "$CG_RUN" "$1"
}

sidecar_up() {
	local name="callgated-$1" pid
	if pid="$(pid_of "$name")"; then
		case "$(readlink "/proc/$pid/exe" || true)" in
		*' (deleted)') say "$name runs an older build: ./dev down && ./dev up for this one" ;;
		esac
		return 0
	fi
	say "start $name"
	spawn "$name" "$CG_BIN/callgated" --listen "$(sidecar_address "$1")" \
		--redis-url "$CG_REDIS_URL" --database-url "$CG_SIDECAR_URL" --reflection 1 \
		--metrics-listen "unix:$CG_RUN/metrics-$1.sock"
}

sidecar_is_serving() {
	local name="callgated-$1"
	/usr/bin/python3 tools/dev/health.py "$(sidecar_address "$1")" "$2" && return 0
	show_log "$CG_STATE/$name.log"
	return 1
}

# A sidecar that cannot be reached is replaced once: its socket may be gone, and then it ends by
# itself within seconds.
sidecar_ready() {
	local socket="$CG_RUN/callgated-$1.sock"
	if ! wait_for 5 test -S "$socket"; then
		end "callgated-$1" TERM 20
		sidecar_up "$1"
	fi
	sidecar_is_serving "$1" 20 || die "callgated-$1 is not serving"
}

# One stack per directory, and one ./dev at a time in it.
lock_state() {
	mkdir -p "$CG_STATE"
	exec 9>"$CG_STATE/lock"
	flock -w 120 9 || die "another ./dev works in $CG_STATE"
}

stack_up() {
	[ $# = 0 ] || die "up takes no arguments"
	install_packages
	lock_state
	build_preset "$CG_PRESET" 9>&-
	choose_directories
	redis_up
	postgres_up
	if ! wait_for 60 redis_is_ready; then
		show_log "$CG_STATE/redis.log"
		die "redis does not start"
	fi
	migrate
	local i sidecars="${CALLGATE_DEV_SIDECARS:-1}"
	for ((i = 1; i <= sidecars; i++)); do
		sidecar_up "$i"
	done
	for ((i = 1; i <= sidecars; i++)); do
		sidecar_ready "$i"
	done
	edge_up
	demonstrate
	say "up; in your shell: eval \"\$(./dev env)\""
}

# One gated call, and what it left in the ledger.
demonstrate() {
	local before
	before="$(sql -Atc 'select count(*) from public.usage_logs')"
	if ! wait_for 20 tell_demo; then
		cat "$CG_STATE/demo.log" >&2
		die "callgate demo failed"
	fi
	if ! wait_for 10 usage_beyond "$before"; then
		show_log "$CG_STATE/callgated-1.log"
		die "the demo call did not reach the ledger"
	fi
	say "its rows in the ledger"
	last_usage
}

# A line for each column; what is in meta, a line for each key.
last_usage() {
	sql -At <<-'EOF'
		with last as (
			select t.created_at, t.type, t.amount, t.reference_id, u.resource_type, u.quantity,
				u.cost, u.meta
			from public.usage_logs u
			join public.wallets w on w.company_id = u.company_id
			join public.wallet_transactions t
				on t.wallet_id = w.id and t.type = 'usage' and t.reference_id = u.meta->>'call_id'
			order by u.created_at desc limit 1
		)
		select '  ' || rpad(key, 15) || case key
			when 'meta' then replace(jsonb_pretty(value::jsonb), E'\n', E'\n' || repeat(' ', 17))
			else value end
		from last, json_each_text(row_to_json(last));
	EOF
}

# A sidecar whose Redis or Postgres was just started again takes a moment to be back with it.
tell_demo() {
	CALLGATE_ADDRESS="$(sidecar_address 1)" CALLGATE_REDIS_URL="$CG_REDIS_URL" \
		CALLGATE_DATABASE_URL="$CG_OWNER_URL" "$CG_BIN/callgate" demo \
		>"$CG_STATE/demo.log" 2>&1 && cat "$CG_STATE/demo.log"
}

usage_beyond() {
	[ "$(sql -Atc 'select count(*) from public.usage_logs')" -gt "$1" ]
}

stack_env() {
	read_places
	printf "export CALLGATE_ADDRESS='%s'\\n" "$(sidecar_address 1)"
	printf "export CALLGATE_REDIS_URL='%s'\\n" "$CG_REDIS_URL"
	printf "export CALLGATE_DATABASE_URL='%s'\\n" "$CG_OWNER_URL"
	# shellcheck disable=SC2016 # the reader's own PATH
	printf 'export PATH="%s:$PATH"\n' "$CG_BIN"
}

stack_down() {
	local wipe=
	case "${1-}" in
	'') ;;
	--wipe) wipe=1 ;;
	*) die "down takes --wipe or nothing" ;;
	esac
	[ -d "$CG_STATE" ] || return 0
	[ -f "$CG_STATE/.callgate-dev" ] || die "$CG_STATE is no state directory of ./dev"
	lock_state
	read_places
	edge_down
	local file name
	for file in "$CG_STATE"/callgated-*.pid; do
		[ -e "$file" ] || continue
		name="${file##*/}"
		end "${name%.pid}" TERM 30
	done
	end redis TERM 20
	end postgres INT 30
	[ -z "$wipe" ] || wipe_state
}

wipe_state() {
	say "remove $CG_STATE"
	local short
	short="$(short_directory)"
	[ ! -O "$short" ] || rm -rf "$short"
	rm -rf "$CG_STATE"/{run,postgres,redis,places,ports,lock,.callgate-dev} "$CG_STATE"/*.pid "$CG_STATE"/*.log
	rmdir "$CG_STATE" 2>/dev/null || say "$CG_STATE holds something else and stays"
}

run_bench() {
	install_packages
	build_preset "$CG_PRESET"
	read_places
	case "${1-}" in
	sim)
		eval "$(stack_env)"
		/usr/bin/python3 tools/dev/health.py "$CALLGATE_ADDRESS" 2 2>/dev/null || die "no stack runs: ./dev up"
		;;
	*) ;; # the others have a stack of their own
	esac
	exec bench/run "$@"
}
