# sql/migrations/ inside cg_ledger: each file by cg_embed(), and a table of them all in the
# order of their versions.
file(GLOB migrations CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/sql/migrations/*.sql)
list(SORT migrations)
set(declarations "")
set(rows "")
foreach(migration IN LISTS migrations)
  get_filename_component(stem ${migration} NAME_WE)
  if(NOT stem MATCHES "^([0-9]+)_(.+)$")
    message(FATAL_ERROR "not <timestamp>_<name>.sql: ${migration}")
  endif()
  string(APPEND declarations "extern const char cg_migration_text_${CMAKE_MATCH_1}[];\n")
  string(APPEND rows
    "    {\"${CMAKE_MATCH_1}\", \"${CMAKE_MATCH_2}\", cg_migration_text_${CMAKE_MATCH_1}},\n")
  cg_embed(cg_ledger cg_migration_text_${CMAKE_MATCH_1} ${migration})
endforeach()
set(table ${CMAKE_BINARY_DIR}/embed/cg_migrations.c)
file(CONFIGURE OUTPUT ${table} @ONLY CONTENT
"#include <stddef.h>\n\n#include \"ledger/migrations.h\"\n\n@declarations@
const struct cg_migration cg_migrations[] = {\n@rows@    {NULL, NULL, NULL},\n};\n")
target_sources(cg_ledger PRIVATE ${table})
