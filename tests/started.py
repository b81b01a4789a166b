"""The code of a process that conftest's `popen` starts: runs a Python program as `__main__`, in its own session."""

import atexit
import os
import runpy
import signal
import sys
import warnings

given = globals()["given"]
first, *rest = given["arguments"]

os.setsid()
os.chdir(given["cwd"])
os.environ.clear()
os.environ.update(given["env"])
for descriptor, file in ((1, given["out"]), (2, given["err"])):
    opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)
# a shell's background jobs ignore Ctrl-C, nohup's the end of the terminal, and child processes inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if first == "-W":
    warnings.simplefilter(rest[0])
    first, *rest = rest[1:]
sys.path[:0] = [path for path in given["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
try:
    if first == "-m":
        sys.path.insert(0, given["cwd"])
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(first)))
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")
finally:
    atexit._run_exitfuncs()
