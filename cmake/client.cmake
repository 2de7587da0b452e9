# libcallgate, the C client behind include/callgate/: shared, with a pkg-config file.
#   cg_client          the room as a static library, for its unit tests and the benches
#   libcallgate        what programs link: libcallgate.so.0, nothing but callgate_* exported
add_library(cg_callgate_headers INTERFACE)
target_include_directories(cg_callgate_headers INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)

cg_room(client USES base LIBRARIES cg_contract PkgConfig::GRPC Threads::Threads)
target_link_libraries(cg_client PUBLIC cg_callgate_headers)
set_target_properties(cg_client PROPERTIES C_VISIBILITY_PRESET hidden)

# Hidden in the objects, and hidden where they come from the archives of other rooms.
add_library(libcallgate SHARED $<TARGET_OBJECTS:cg_client>)
set_target_properties(libcallgate PROPERTIES OUTPUT_NAME callgate
  VERSION ${PROJECT_VERSION} SOVERSION 0)
target_link_libraries(libcallgate PUBLIC cg_callgate_headers
  PRIVATE $<LINK_ONLY:cg_base> $<LINK_ONLY:cg_contract> PkgConfig::GRPC PkgConfig::PROTOBUFC
  Threads::Threads)
target_link_options(libcallgate PRIVATE -Wl,--exclude-libs,ALL)
if(NOT CG_SANITIZE)
  target_link_options(libcallgate PRIVATE -Wl,--no-undefined)
endif()

include(GNUInstallDirs)
file(RELATIVE_PATH CG_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/callgate.pc.in ${CMAKE_BINARY_DIR}/callgate.pc @ONLY)
install(TARGETS libcallgate LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/callgate DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")
# It finds its prefix from its own place: lib/pkgconfig, or lib/<triplet>/pkgconfig.
install(FILES ${CMAKE_BINARY_DIR}/callgate.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
