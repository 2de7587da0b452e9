# The programs: callgated (src/daemon), callgate (src/cli), the benches (bench).

cg_room(daemon USES base loop ports gate store ledger rpc)
add_executable(callgated ${PROJECT_SOURCE_DIR}/src/daemon/main.c)
target_link_libraries(callgated PRIVATE cg_flags cg_daemon $<LINK_ONLY:cg_base> cg_base_headers)
install(TARGETS callgated RUNTIME)
