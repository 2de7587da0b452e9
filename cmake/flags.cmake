# Every room's compiler flags, in one interface target.
add_library(cg_flags INTERFACE)
target_compile_options(cg_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
  -Wswitch-enum -Wimplicit-fallthrough -Wvla -Wundef -Wformat=2 -fno-strict-aliasing)
target_compile_definitions(cg_flags INTERFACE _POSIX_C_SOURCE=200809L CG_VERSION="${PROJECT_VERSION}")
if(CG_WERROR)
  target_compile_options(cg_flags INTERFACE -Werror)
endif()
if(CG_SANITIZE)
  target_compile_options(cg_flags INTERFACE -fsanitize=${CG_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${CG_SANITIZE})
endif()
if(CG_HARDEN)
  target_compile_options(cg_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
    -fstack-protector-strong -fstack-clash-protection -fcf-protection=full)
  add_link_options(-Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
  include(CheckPIESupported)
  check_pie_supported()
endif()
if(CG_FUZZ)
  target_compile_options(cg_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
