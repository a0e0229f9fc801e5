"""Nothing in the source exists on one system alone, unless it stands here with what is done elsewhere."""

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
PLACES = ("/proc/", "/dev/", "/tmp/", "/etc/", "/usr/", "/var/", "/home/", "C:\\")  # noqa: S108 - they are looked for

COUNTERPARTS = {
    "os.link": "Windows: a rename, which does not replace there; also where a file system has no hard links",
    "/proc/": "elsewhere `resource`, or nothing",
    "resource": "macOS only; elsewhere another way, or nothing",
}
"""What exists on one system only and is used nevertheless, with what the other systems use."""


def uses(path: Path) -> set[str]:
    """List what a module uses that one system alone has."""
    found = set()
    docstrings = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Expr):
            inner = node.value if isinstance(node, ast.Expr) else None
            if isinstance(inner, ast.Constant):
                docstrings.add(id(inner))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & (POSIX_MODULES | WINDOWS_MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            found |= {module.split(".", maxsplit=1)[0]} & (POSIX_MODULES | WINDOWS_MODULES)
            found |= {f"{module}.{alias.name}" for alias in node.names if _is_of_one_system(module, alias.name)}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if _is_of_one_system(node.value.id, node.attr):
                found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found |= {place for place in PLACES if node.value.startswith(place)}
    return found


def _is_of_one_system(module: str, name: str) -> bool:
    return name in POSIX_NAMES.get(module, ()) or name in WINDOWS_NAMES.get(module, ())


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """List all calls of the source, each with the module that makes it."""
    return [
        (module_name(path), node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def module_name(path: Path) -> str:
    return ".".join(part for part in path.relative_to(PACKAGE).with_suffix("").parts if part != "__init__")


def test_what_one_system_alone_has_has_a_counterpart() -> None:
    assert {use for path in FILES for use in uses(path)} == COUNTERPARTS.keys()


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text(
        "import fcntl, os\nfrom signal import SIGKILL\nimport signal\nos.fork()\nsignal.alarm(1)\nopen('/dev/null')\n"
    )
    assert uses(source) == {"fcntl", "signal.SIGKILL", "os.fork", "signal.alarm", "/dev/"}


def test_a_rename_that_differs_between_systems_is_made_in_one_place() -> None:
    # Over an existing file it replaces on POSIX and refuses on Windows; `replace` replaces everywhere.
    renames = {module for module, call in calls() if ast.unparse(call.func).endswith(".rename")}
    assert len(renames) == 1


def test_text_is_read_and_written_in_a_stated_encoding() -> None:
    for _, node in calls():
        name = ast.unparse(node.func).rsplit(".", 1)[-1]
        keywords = {keyword.arg for keyword in node.keywords}
        if name in {"read_text", "write_text"}:
            told = "encoding" in keywords or "'utf-8'" in ast.unparse(node) or "'ascii'" in ast.unparse(node)
            assert told, ast.unparse(node)
        if name == "open" and ast.unparse(node.func) != "os.open":
            position = 1 if isinstance(node.func, ast.Name) else 0  # open(path, mode), and path.open(mode)
            mode = ast.unparse(node.args[position]).strip("'\"") if len(node.args) > position else ""
            assert mode not in _TEXT_MODES or "encoding" in keywords, ast.unparse(node)


_TEXT_MODES = frozenset({"r", "w", "a", "x", "r+", "w+", "rt", "wt"})


def test_every_use_of_the_wall_clock_gives_a_reason() -> None:
    clocks = {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now", "datetime.utcnow"}
    for path in FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in clocks:
                assert "# wall clock: " in lines[node.end_lineno - 1], f"{path.name}:{node.lineno}"
