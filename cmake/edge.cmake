# callgate-edge: rooms under src/edge/, and the program.  Each third-party library is one room's.
cg_room(edge_json FOLDER edge/json USES base)
cg_room(edge_auth FOLDER edge/auth USES base LIBRARIES PkgConfig::CRYPTO)
cg_room(edge_http FOLDER edge/http USES base loop LIBRARIES PkgConfig::MHD)
cg_room(edge_fetch FOLDER edge/fetch USES base loop LIBRARIES PkgConfig::CURL)
cg_room(edge_calls FOLDER edge/calls USES base)
cg_room(edge_vapi FOLDER edge/vapi USES base edge_json edge_calls)
cg_room(edge_store FOLDER edge/store USES base loop ports ledger LIBRARIES PkgConfig::PQ)
cg_room(edge_service FOLDER edge/service
  USES base loop edge_json edge_auth edge_http edge_fetch edge_calls edge_vapi edge_store
  LIBRARIES cg_callgate_headers)

add_executable(callgate-edge ${PROJECT_SOURCE_DIR}/src/edge/service/main.c)
target_link_libraries(callgate-edge PRIVATE cg_flags cg_edge_service cg_edge_service_headers
  cg_base_headers cg_loop_headers cg_edge_json_headers cg_edge_auth_headers cg_edge_http_headers
  cg_edge_fetch_headers cg_edge_calls_headers cg_edge_vapi_headers cg_edge_store_headers
  cg_callgate_headers libcallgate $<LINK_ONLY:cg_base>)
install(TARGETS callgate-edge RUNTIME)
