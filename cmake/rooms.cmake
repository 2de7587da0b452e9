# A room is a folder under src/ and a static library.  It sees the headers of the rooms
# named in USES and of no other: each room has a directory of its own in the build tree
# with one symbolic link, and only those are on the include path.  A forbidden include
# does not compile (tests/rooms/ proves it).

# cg_expose(<interface target> <path under src>): the headers of one folder.
function(cg_expose target path)
  set(shelf ${CMAKE_BINARY_DIR}/rooms/${target})
  get_filename_component(parent ${path} DIRECTORY)
  file(MAKE_DIRECTORY ${shelf}/${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/src/${path} ${shelf}/${path} SYMBOLIC)
  add_library(${target} INTERFACE)
  target_include_directories(${target} INTERFACE ${shelf})
endfunction()

# cg_room(<name> [FOLDER <path under src>] USES <rooms whose headers it may include...>
#         LIBRARIES <third-party...>)
#   cg_<name>          the library
#   cg_<name>_headers  its headers
function(cg_room name)
  cmake_parse_arguments(ROOM "" "FOLDER" "USES;LIBRARIES" ${ARGN})
  if(NOT ROOM_FOLDER)
    set(ROOM_FOLDER ${name})
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${ROOM_FOLDER}/*.c)
  list(FILTER sources EXCLUDE REGEX "/main\\.c$") # a program's, see programs.cmake
  cg_expose(cg_${name}_headers ${ROOM_FOLDER})
  add_library(cg_${name} STATIC ${sources})
  target_link_libraries(cg_${name} PRIVATE cg_flags ${ROOM_LIBRARIES} PUBLIC cg_${name}_headers)
  foreach(used IN LISTS ROOM_USES)
    target_link_libraries(cg_${name} PRIVATE cg_${used}_headers $<LINK_ONLY:cg_${used}>)
  endforeach()
endfunction()
