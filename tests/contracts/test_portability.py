"""The source uses nothing that exists on one operating system only, unless it is listed here with an alternative."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import glpn_cli

PACKAGE = Path(glpn_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

POSIX_MODULES = frozenset(
    {"crypt", "fcntl", "grp", "nis", "ossaudiodev", "posix", "pty", "pwd", "readline", "resource"}
    | {"spwd", "syslog", "termios", "tty"}
)
WINDOWS_MODULES = frozenset({"msvcrt", "nt", "winreg", "winsound", "_winapi"})

# Source: "Availability: Unix" in the documentation of Python 3.11 to 3.13.
POSIX_NAMES = {
    "os": frozenset(
        {"chown", "chroot", "confstr", "copy_file_range", "ctermid", "eventfd", "fchdir", "fchmod", "fchown"}
        | {"fork", "forkpty", "fstatvfs", "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid"}
        | {"getpriority", "getrandom", "getresuid", "getsid", "getuid", "getxattr", "initgroups", "killpg", "lchown"}
        | {"lockf", "major", "makedev", "memfd_create", "minor", "mkfifo", "mknod", "nice", "openpty", "pathconf"}
        | {"pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate", "posix_spawn", "pread", "preadv", "pwrite"}
        | {"pwritev", "readv", "sched_getaffinity", "sched_setaffinity", "sendfile", "setegid", "seteuid", "setgid"}
        | {"setgroups", "setpgid", "setpriority", "setsid", "setuid", "setxattr", "splice", "statvfs", "sync"}
        | {"sysconf", "tcgetpgrp", "ttyname", "uname", "wait", "wait3", "wait4", "waitid", "writev", "WNOHANG"}
        | {"O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOATIME", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_PATH"}
        | {"O_SYNC", "O_TMPFILE", "EX_OK", "EX_USAGE", "link", "symlink", "mkfifo"}
    ),
    "signal": frozenset(
        {"SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGTTIN"}
        | {"SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGWINCH", "alarm", "getitimer", "pause", "pthread_kill"}
        | {"pthread_sigmask", "setitimer", "siginterrupt", "sigpending", "sigtimedwait", "sigwait", "sigwaitinfo"}
    ),
    "select": frozenset({"devpoll", "epoll", "kevent", "kqueue", "poll"}),
    "socket": frozenset({"AF_UNIX", "socketpair"}),
    "time": frozenset({"clock_gettime", "clock_settime", "pthread_getcpuclockid", "tzset"}),
}
WINDOWS_NAMES = {
    "os": frozenset({"O_BINARY", "O_TEXT", "O_NOINHERIT", "startfile"}),
    "signal": frozenset({"SIGBREAK", "CTRL_C_EVENT", "CTRL_BREAK_EVENT"}),
}
SYSTEM_PATHS = ("/proc/", "/dev/", "/tmp/", "/etc/", "/usr/", "/var/", "/home/", "C:\\")  # noqa: S108 - to search for

ALTERNATIVES = {
    "os.link": "Windows: a rename, which does not replace files there; also on file systems without hard links",
    "os.sched_getaffinity": "elsewhere the number of cores",
    "os.setpriority": "Windows: nothing, as processes have no niceness there",
    "signal.pthread_kill": "Windows: `_thread.interrupt_main`, which does not end a system call that waits",
    "os.sysconf": "only after reading `/proc/stat`; elsewhere nothing",
    "/proc/": "elsewhere `resource`, or nothing",
    "resource": "macOS only; another way elsewhere, or nothing",
}
"""What exists on one system only and is used nevertheless, with what is used on the others."""


@cache
def parse(path: Path) -> list[ast.AST]:
    """Return all nodes of a module."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def uses(path: Path) -> set[str]:
    """Return what a module uses that exists on one system only."""
    found = set()
    docstrings = set()
    for node in parse(path):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Expr):
            inner = node.value if isinstance(node, ast.Expr) else None
            if isinstance(inner, ast.Constant):
                docstrings.add(id(inner))
    for node in parse(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & (POSIX_MODULES | WINDOWS_MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            found |= {module.split(".", maxsplit=1)[0]} & (POSIX_MODULES | WINDOWS_MODULES)
            found |= {f"{module}.{alias.name}" for alias in node.names if _is_system_specific(module, alias.name)}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if _is_system_specific(node.value.id, node.attr):
                found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found |= {prefix for prefix in SYSTEM_PATHS if node.value.startswith(prefix)}
    return found


def _is_system_specific(module: str, name: str) -> bool:
    return name in POSIX_NAMES.get(module, ()) or name in WINDOWS_NAMES.get(module, ())


def calls() -> list[tuple[Path, ast.Call]]:
    """Return all calls in the source, each with its module."""
    return [(path, node) for path in FILES for node in parse(path) if isinstance(node, ast.Call)]


def function_name(call: ast.Call) -> str:
    """Return what is called, such as `time.time`, or the last part of it for a result of an expression."""
    names = []
    function = call.func
    while isinstance(function, ast.Attribute):
        names.append(function.attr)
        function = function.value
    return ".".join(reversed([*names, function.id if isinstance(function, ast.Name) else ""]))


def test_system_specific_uses_have_alternatives() -> None:
    assert {use for path in FILES for use in uses(path)} == ALTERNATIVES.keys()


def test_search_finds_system_specific_uses(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text(
        "import fcntl, os\nfrom signal import SIGKILL\nimport signal\nos.fork()\nsignal.alarm(1)\nopen('/dev/null')\n"
    )
    assert uses(source) == {"fcntl", "signal.SIGKILL", "os.fork", "signal.alarm", "/dev/"}


def test_only_one_module_renames() -> None:
    # Onto an existing file, a rename succeeds on POSIX and fails on Windows; `replace` succeeds everywhere.
    renames = {path for path, call in calls() if function_name(call).endswith(".rename")}
    assert len(renames) == 1


def test_text_files_have_an_explicit_encoding() -> None:
    for _, node in calls():
        name = function_name(node).rsplit(".", 1)[-1]
        keywords = {keyword.arg for keyword in node.keywords}
        if name in {"read_text", "write_text"}:
            is_explicit = "encoding" in keywords or "'utf-8'" in ast.unparse(node) or "'ascii'" in ast.unparse(node)
            assert is_explicit, ast.unparse(node)
        if name == "open" and function_name(node) != "os.open":
            position = 1 if isinstance(node.func, ast.Name) else 0  # open(path, mode), and path.open(mode)
            mode = ast.unparse(node.args[position]).strip("'\"") if len(node.args) > position else ""
            assert mode not in _TEXT_MODES or "encoding" in keywords, ast.unparse(node)


_TEXT_MODES = frozenset({"r", "w", "a", "x", "r+", "w+", "rt", "wt"})


def test_every_use_of_the_wall_clock_has_a_reason() -> None:
    clocks = {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now", "datetime.utcnow"}
    for path, node in calls():
        if function_name(node) in clocks:
            line = path.read_text(encoding="utf-8").splitlines()[node.end_lineno - 1]
            assert "# wall clock: " in line, f"{path.name}:{node.lineno}"
