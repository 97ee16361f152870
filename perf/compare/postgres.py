"""A PostgreSQL server of a measurement's own: on a free port, in a temporary folder, as a user that is not root."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from haproxy import free_port

USER = "gateway"


def programs():
    """Where initdb and postgres are: the newest version that is installed."""
    found = pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")
    versions = sorted(found, key=lambda path: float(path.parents[1].name))
    if not versions:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    return versions[-1].parent


def unprivileged():
    """What to put before a command, and whose the folder has to be: the server refuses to be root."""
    if os.geteuid() != 0:
        return [], None
    users = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in users else "nobody"
    group = pwd.getpwnam(user).pw_gid
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"], user


class Postgres:
    """A server with one empty database."""

    def __init__(self):
        self.port, self.folder, self.bin = free_port(), tempfile.TemporaryDirectory(), programs()
        before, user = unprivileged()
        if user:
            shutil.chown(self.folder.name, user)
        data = f"{self.folder.name}/data"
        self.run([*before, self.bin / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
            "dynamic_shared_memory_type": "mmap",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.server = subprocess.Popen(
            [*before, self.bin / "postgres", "-D", data, *options], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 60
        while not self.accepts():
            if time.monotonic() > end or self.server.poll() is not None:
                raise SystemExit("PostgreSQL does not come up")
            time.sleep(0.05)

    def url(self):
        return f"postgres://{USER}@127.0.0.1:{self.port}/postgres"

    def accepts(self):
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        return subprocess.run(ready, cwd="/", check=False).returncode == 0

    def sql(self, text):
        psql = [self.bin / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", "postgres"]
        self.run([*psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", text])

    def run(self, command):
        done = subprocess.run(command, cwd="/", capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{command[0]} failed: {done.stdout}{done.stderr}")

    def silence(self):
        """Stops it and the processes that serve connections: nothing is answered, and nothing is closed."""
        for pid in [self.server.pid, *self.children()]:
            os.kill(pid, signal.SIGSTOP)

    def kill(self):
        """Ends it at once; connections break."""
        children = self.children()
        self.server.kill()
        self.server.wait()
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def stop(self):
        if self.server.poll() is None:
            self.kill()
        self.folder.cleanup()

    def children(self):
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == self.server.pid:
                found.append(int(path.parent.name))
        return found
