# Text files inside the program.
#
# cg_embed(<target> <file> <symbol>): adds a source to <target> that defines
#   const char <symbol>[];            the file's bytes, and a terminating 0
#   const size_t <symbol>_len;        how many bytes, without the 0
# Declare both `extern` where they are used.  Made anew whenever the file changes.
if(CMAKE_SCRIPT_MODE_FILE)
  # The second half, run by the build: cmake -DINPUT= -DOUTPUT= -DSYMBOL= -P embed.cmake
  file(READ ${INPUT} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  string(REPEAT "'.x..'," 16 line)
  string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
  file(WRITE ${OUTPUT} "#include <stddef.h>\n\n"
    "extern const char ${SYMBOL}[];\nextern const size_t ${SYMBOL}_len;\n\n"
    "const char ${SYMBOL}[] = {\n${bytes}0};\nconst size_t ${SYMBOL}_len = sizeof ${SYMBOL} - 1;\n")
  return()
endif()

set(CG_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(cg_embed target file symbol)
  set(source ${CMAKE_BINARY_DIR}/embed/${symbol}.c)
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DOUTPUT=${source} -DSYMBOL=${symbol} -P ${CG_EMBED_SCRIPT}
    DEPENDS ${file} ${CG_EMBED_SCRIPT} VERBATIM)
  target_sources(${target} PRIVATE ${source})
endfunction()
