# The programs: callgated (src/daemon), callgate (src/cli), the benches (bench).

cg_room(daemon USES base loop ports gate store ledger rpc)
add_executable(callgated ${PROJECT_SOURCE_DIR}/src/daemon/main.c)
target_link_libraries(callgated PRIVATE cg_flags cg_daemon $<LINK_ONLY:cg_base> cg_base_headers)
install(TARGETS callgated RUNTIME)

# callgate: the operator's command, a client of the sidecar and of the ledger's Postgres.
cg_expose(cg_cli_headers cli)
file(GLOB CG_CLI_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cli/*.c)
add_executable(callgate ${CG_CLI_SOURCES})
target_link_libraries(callgate PRIVATE cg_flags cg_cli_headers cg_base_headers cg_ledger_headers
  libcallgate $<LINK_ONLY:cg_ledger> $<LINK_ONLY:cg_base> PkgConfig::PQ PkgConfig::JANSSON)
install(TARGETS callgate RUNTIME)
