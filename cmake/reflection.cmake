# What reflection answers: the descriptors of every service that the sidecar may serve, made by
# protoc and embedded in cg_rpc.
find_program(PROTOC protoc REQUIRED)
set(CG_PROTO_ROOT ${PROJECT_SOURCE_DIR}/proto)
set(CG_REFLECTED callgate/v1/callgate.proto grpc/health/v1/health.proto
  grpc/reflection/v1/reflection.proto grpc/reflection/v1alpha/reflection.proto)
list(TRANSFORM CG_REFLECTED PREPEND ${CG_PROTO_ROOT}/ OUTPUT_VARIABLE reflected_files)
set(CG_DESCRIPTORS ${CMAKE_BINARY_DIR}/contract/descriptors.pb)
add_custom_command(OUTPUT ${CG_DESCRIPTORS}
  COMMAND ${PROTOC} --proto_path=${CG_PROTO_ROOT} --include_imports
    --descriptor_set_out=${CG_DESCRIPTORS} ${CG_REFLECTED}
  DEPENDS ${reflected_files} VERBATIM)
cg_embed(cg_rpc cg_rpc_descriptors ${CG_DESCRIPTORS})
