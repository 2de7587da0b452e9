# The function library inside the program: FUNCTION LOAD takes one text.
#
# cg_function_library(<target> <version>): adds to <target> the parts of src/store/callgate/, in the
# order of their names, as cg_wire_library_text, and tells its src/store/wire.c the version.  The
# first part names the library; its @LIBRARY_VERSION@ becomes the version.
function(cg_function_library target version)
  set(folder ${PROJECT_SOURCE_DIR}/src/store/callgate)
  file(GLOB parts CONFIGURE_DEPENDS ${folder}/*.lua)
  list(REMOVE_ITEM parts ${folder}/01_words.lua)
  set(LIBRARY_VERSION ${version})
  set(first ${CMAKE_BINARY_DIR}/embed/${target}/01_words.lua)
  configure_file(${folder}/01_words.lua ${first} @ONLY)
  cg_embed(${target} cg_wire_library_text ${first} ${parts})
  target_compile_definitions(${target} PRIVATE CG_LIBRARY_VERSION="${version}")
endfunction()
