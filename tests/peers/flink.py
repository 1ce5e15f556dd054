#!/usr/bin/env python3
"""A real Apache Flink for comparisons: a session cluster of one slot and Flink's SQL Gateway, asked over REST.

  tests/peers/flink.py fetch [DIRECTORY]     download it (313 MB: a wheel from PyPI, a jar from Maven Central)

  with Flink(home) as f:
      f.run("create table ...")              rows of a SELECT come back as lists
      f.cpu()                                cpu seconds of the cluster so far

The home is $FLINK_HOME, else ~/.cache/runnel/flink-VERSION.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile

VERSION = "2.2.1"
GATEWAY = "org.apache.flink.table.gateway.SqlGateway"
EXPORTS = ["java.rmi/sun.rmi.registry", "jdk.compiler/com.sun.tools.javac.api", "jdk.compiler/com.sun.tools.javac.file",
           "jdk.compiler/com.sun.tools.javac.parser", "jdk.compiler/com.sun.tools.javac.tree",
           "jdk.compiler/com.sun.tools.javac.util", "java.security.jgss/sun.security.krb5"]
OPENS = ["lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent",
         "util.concurrent.atomic", "util.concurrent.locks"]


def default_home():
    return os.environ.get("FLINK_HOME") or os.path.expanduser("~/.cache/runnel/flink-" + VERSION)


def is_there(home=None):
    return os.path.isdir(os.path.join(home or default_home(), "lib"))


def fetch(home=None):
    home = home or default_home()
    os.makedirs(home, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as where:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", where,
                        "apache-flink-libraries==" + VERSION], check=True)
        wheel = next(os.path.join(where, n) for n in os.listdir(where) if n.endswith(".whl"))
        with zipfile.ZipFile(wheel) as z:
            for name in z.namelist():
                if name.startswith(("pyflink/lib/", "pyflink/opt/", "pyflink/plugins/")) and not name.endswith("/"):
                    to = os.path.join(home, name.removeprefix("pyflink/"))
                    os.makedirs(os.path.dirname(to), exist_ok=True)
                    with z.open(name) as source, open(to, "wb") as target:
                        target.write(source.read())
    jar = "flink-sql-gateway"
    url = f"https://repo1.maven.org/maven2/org/apache/flink/{jar}/{VERSION}/{jar}-{VERSION}.jar"
    urllib.request.urlretrieve(url, f"{home}/opt/{jar}-{VERSION}.jar")


class Flink:
    """A JobManager, a TaskManager with one slot, and the gateway."""

    def __init__(self, home=None, port=18093):
        self.home, self.url, self.port = home or default_home(), "http://127.0.0.1:%d/v1" % port, port
        self.where = tempfile.TemporaryDirectory(prefix="flink-")
        self.processes = []

    def configure(self):
        os.mkdir(self.where.name + "/conf")
        with open(self.where.name + "/conf/config.yaml", "w") as f:
            f.write("execution.target: remote\ntable.dml-sync: true\nparallelism.default: 1\n"
                    "taskmanager.numberOfTaskSlots: 1\ntaskmanager.cpu.cores: 1.0\n"
                    "taskmanager.memory.task.heap.size: 1500m\ntaskmanager.memory.task.off-heap.size: 0b\n"
                    "taskmanager.memory.network.min: 256m\ntaskmanager.memory.network.max: 256m\n"
                    "taskmanager.memory.managed.size: 1024m\ntaskmanager.memory.framework.heap.size: 128m\n"
                    "taskmanager.memory.framework.off-heap.size: 128m\n"
                    "taskmanager.memory.jvm-metaspace.size: 256m\n"
                    "taskmanager.memory.jvm-overhead.min: 256m\ntaskmanager.memory.jvm-overhead.max: 256m\n"
                    "jobmanager.memory.heap.size: 700m\n"
                    "jobmanager.rpc.address: 127.0.0.1\njobmanager.bind-host: 127.0.0.1\ntaskmanager.host: 127.0.0.1\n"
                    "taskmanager.bind-host: 127.0.0.1\nrest.address: 127.0.0.1\nrest.bind-address: 127.0.0.1\n"
                    "sql-gateway.endpoint.rest.address: 127.0.0.1\nsql-gateway.endpoint.rest.bind-address: 127.0.0.1\n"
                    "jobmanager.rpc.port: %d\nrest.port: %d\nsql-gateway.endpoint.rest.port: %d\nio.tmp.dirs: %s\n"
                    % (self.port + 2, self.port + 1, self.port, self.where.name))

    def launch(self, main, heap, jars=(), arguments=()):
        with open("%s/log-%d" % (self.where.name, len(self.processes)), "w") as log:
            self.processes.append(subprocess.Popen(
                ["java", "-Xmx" + heap, "-XX:MaxDirectMemorySize=600m"]
                + ["--add-exports=%s=ALL-UNNAMED" % e for e in EXPORTS]
                + ["--add-opens=java.base/java.%s=ALL-UNNAMED" % o for o in OPENS]
                + ["-cp", ":".join(list(jars) + [self.home + "/lib/*"]), main] + list(arguments),
                env=dict(os.environ, FLINK_CONF_DIR=self.where.name + "/conf", FLINK_LIB_DIR=self.home + "/lib",
                         FLINK_OPT_DIR=self.home + "/opt", FLINK_PLUGINS_DIR=self.home + "/plugins"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def until(self, ready):
        for _ in range(1200):
            if any(p.poll() is not None for p in self.processes):
                raise RuntimeError("Flink ended: " + self.tail())
            try:
                if ready():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError("Flink doesn't answer")

    def __enter__(self):
        conf = ["--configDir", self.where.name + "/conf"]
        jars = [f"{self.home}/opt/flink-sql-{n}-{VERSION}.jar" for n in ("gateway", "client")]
        rest = "http://127.0.0.1:%d/overview" % (self.port + 1)
        try:
            self.configure()
            self.launch("org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint", "700m", (), conf)
            self.launch("org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "1700m", (), conf)
            self.until(lambda: json.loads(urllib.request.urlopen(rest, timeout=5).read())["slots-total"] > 0)
            self.launch(GATEWAY, "512m", jars)
            self.until(lambda: self.call("/info"))
            self.session = self.call("/sessions", {"properties": {}})["sessionHandle"]
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        for p in self.processes:
            p.kill()
            p.wait()
        self.where.cleanup()

    def tail(self):
        said = ""
        for n in range(len(self.processes)):
            with open("%s/log-%d" % (self.where.name, n)) as f:
                said += f.read()[-1000:]
        return said

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as e:
            said = e.read().decode().replace("\\n", "\n").split("\n")
            causes = [line for line in said if line.startswith("Caused by")] or said
            raise RuntimeError("\n".join(causes)[-2000:]) from None

    def run(self, statement):
        """The rows of the statement, each [kind, fields]; a job has ended when it returns."""
        where = "/sessions/%s" % self.session
        operation = self.call(where + "/statements", {"statement": statement})["operationHandle"]
        rows, token = [], 0
        while True:
            answer = self.call("%s/operations/%s/result/%d?rowFormat=JSON" % (where, operation, token))
            if answer.get("resultType") == "NOT_READY":
                time.sleep(0.005)
                continue
            rows += [[r["kind"], r["fields"]] for r in answer.get("results", {}).get("data", [])]
            if answer.get("resultType") == "EOS" or not answer.get("nextResultUri"):
                return rows
            token = int(answer["nextResultUri"].split("/result/")[1].split("?")[0])

    def cpu(self):
        """Of JobManager and TaskManager."""
        ticks = 0
        for p in self.processes[:2]:
            with open("/proc/%d/stat" % p.pid) as f:
                fields = f.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    if sys.argv[1:2] != ["fetch"]:
        sys.exit(__doc__)
    fetch(*sys.argv[2:3])
