# The programs: callgated (src/daemon), callgate (src/cli), the benches (bench).

cg_room(daemon USES base loop ports gate store ledger events rpc admin)
add_executable(callgated ${PROJECT_SOURCE_DIR}/src/daemon/main.c)
target_link_libraries(callgated PRIVATE cg_flags cg_daemon $<LINK_ONLY:cg_base> cg_base_headers)
install(TARGETS callgated RUNTIME)

# callgated with the function library's next version, for the tests of an upgrade: the same text
# under another name.  What it has itself is not taken out of cg_store.
math(EXPR next "${CG_LIBRARY_VERSION} + 1")
add_executable(callgated-next ${PROJECT_SOURCE_DIR}/src/daemon/main.c
  ${PROJECT_SOURCE_DIR}/src/store/wire.c)
cg_function_library(callgated-next ${next})
target_link_libraries(callgated-next PRIVATE cg_flags cg_daemon cg_store_headers cg_ports_headers
  $<LINK_ONLY:cg_base> cg_base_headers)

# callgate: the operator's command, a client of the sidecar and of the ledger's Postgres.
cg_expose(cg_cli_headers cli)
file(GLOB CG_CLI_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cli/*.c)
add_executable(callgate ${CG_CLI_SOURCES})
target_link_libraries(callgate PRIVATE cg_flags cg_cli_headers cg_base_headers cg_ledger_headers
  libcallgate $<LINK_ONLY:cg_ledger> $<LINK_ONLY:cg_base> $<LINK_ONLY:PkgConfig::PQ>
  $<LINK_ONLY:PkgConfig::HIREDIS> PkgConfig::JANSSON PkgConfig::CRYPTO)
# The audit and the doctor call functions of this version's library.
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/cli/store.c PROPERTIES
  COMPILE_DEFINITIONS "CG_LIBRARY_VERSION=\"${CG_LIBRARY_VERSION}\"")
# One file speaks to Postgres; <libpq-fe.h> does not compile in any other.  One speaks to Redis.
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/cli/sql.c PROPERTIES
  INCLUDE_DIRECTORIES "${PQ_INCLUDE_DIRS}")
install(TARGETS callgate RUNTIME)

# callgate-bench: load on a running sidecar.  It polls inline and sends raw bytes for the
# floors, so it is built on the client's room rather than on the shared library.
file(GLOB CG_LOAD_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/load/*.c)
add_executable(callgate-bench ${CG_LOAD_SOURCES} bench/flags.c bench/histogram.c)
target_include_directories(callgate-bench PRIVATE bench)
target_link_libraries(callgate-bench PRIVATE cg_flags cg_client cg_client_headers cg_base_headers
  cg_contract PkgConfig::GRPC m)

# callgate-sim: companies that speak the domain with running sidecars.
file(GLOB CG_SIM_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/sim/*.c)
add_executable(callgate-sim ${CG_SIM_SOURCES} bench/flags.c bench/histogram.c)
target_include_directories(callgate-sim PRIVATE bench)
# ppoll, and who listens on a socket.
set_source_files_properties(${PROJECT_SOURCE_DIR}/bench/sim/sim_run.c PROPERTIES
  COMPILE_DEFINITIONS _GNU_SOURCE)
target_link_libraries(callgate-sim PRIVATE cg_flags cg_base_headers libcallgate
  $<LINK_ONLY:cg_base> m)

# callgate-bench-store: the authorize function alone, straight against a Redis of its own.
add_executable(callgate-bench-store bench/store_floor.c bench/load/load_print.c bench/histogram.c)
target_include_directories(callgate-bench-store PRIVATE bench)
target_link_libraries(callgate-bench-store PRIVATE cg_flags cg_store cg_store_headers
  cg_ports_headers cg_base_headers cg_client)

# The floor under every call: gRPC C core alone, with callgated's channel arguments.
add_executable(bare_server ${PROJECT_SOURCE_DIR}/bench/bare_server.c)
target_link_libraries(bare_server PRIVATE cg_flags cg_rpc cg_rpc_headers cg_base cg_base_headers
  cg_loop_headers cg_gate_headers cg_ports_headers PkgConfig::GRPC Threads::Threads)

# bench_store_room: the store room under load, without gate and gRPC.
add_executable(bench_store_room bench/store_room.c bench/histogram.c)
target_link_libraries(bench_store_room PRIVATE cg_flags cg_store cg_store_headers cg_loop
  cg_loop_headers cg_ports_headers cg_base_headers cg_base)
