# libcallgate, the C client behind include/callgate/: shared, with a pkg-config file.
