# Files inside the program.
#
# cg_embed(<target> <symbol> <file>...): adds a source to <target> that defines
#   const char <symbol>[];            the files' bytes, one after the other, and a terminating 0
#   const size_t <symbol>_len;        how many bytes, without the 0
# Declare both `extern` where they are used.  Made anew whenever a file changes.
if(CMAKE_SCRIPT_MODE_FILE)
  # The second half, run by the build: cmake "-DINPUTS=a|b" -DOUTPUT= -DSYMBOL= -P embed.cmake
  string(REPLACE "|" ";" inputs "${INPUTS}")
  set(bytes "")
  foreach(input IN LISTS inputs)
    file(READ ${input} part HEX)
    string(APPEND bytes "${part}")
  endforeach()
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  string(REPEAT "'.x..'," 16 line)
  string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
  file(WRITE ${OUTPUT} "#include <stddef.h>\n\n"
    "extern const char ${SYMBOL}[];\nextern const size_t ${SYMBOL}_len;\n\n"
    "const char ${SYMBOL}[] = {\n${bytes}0};\nconst size_t ${SYMBOL}_len = sizeof ${SYMBOL} - 1;\n")
  return()
endif()

set(CG_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(cg_embed target symbol)
  set(source ${CMAKE_BINARY_DIR}/embed/${target}/${symbol}.c)
  string(REPLACE ";" "|" inputs "${ARGN}")
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} "-DINPUTS=${inputs}" -DOUTPUT=${source} -DSYMBOL=${symbol} -P ${CG_EMBED_SCRIPT}
    DEPENDS ${ARGN} ${CG_EMBED_SCRIPT} VERBATIM)
  target_sources(${target} PRIVATE ${source})
endfunction()
