# The programs: callgated (src/daemon), callgate (src/cli), the benches (bench).
