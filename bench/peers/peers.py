"""The peers: how each is started, and what a round of it measures. Each is a context that gives back a function for one round."""

import contextlib
import os
import re
import shutil
import socket
import time
from urllib.parse import urlsplit

import load
from processes import Failed, Skipped, free_port, listens, program, run, wait
from world import HERE

TEXT = "Your+order+is+on+its+way."


def installed(world, name):
    """The folder of what was installed for a peer, or the reason why it is not there."""
    reason = world.installed / f"{name}.reason"
    if reason.exists():
        raise Skipped(reason.read_text(encoding="utf-8").strip())
    return world.installed / name


@contextlib.contextmanager
def celery(world):
    python = installed(world, "celery") / "bin"
    environment = {**os.environ, "SINK_URL": world.sink, "BROKER_URL": os.environ["AMQP_URL"]}
    options = {"cwd": HERE, "env": {**environment, "PYTHONDONTWRITEBYTECODE": "1"}}
    count = world.of(10_000, 500)
    worker = [str(python / "celery"), "-A", "celery_tasks", "worker", "-l", "WARNING", "-c", str(os.cpu_count())]

    def give(number):
        return float(run([str(python / "python"), "celery_tasks.py", str(number)], 120, **options))

    with program(world.logs / "celery.log", worker, **options):
        world.rate("http", 20, lambda: give(20), 60)  # it runs, and its connections are open
        yield lambda: {"celery": world.rate("http", count, lambda: give(count))}


@contextlib.contextmanager
def graphile(world):
    """Jobs that a row trigger adds: handled with an HTTP POST each, and what the trigger costs those who write."""
    folder, database = installed(world, "graphile"), os.environ["PEERS_DATABASE_URL"]
    worker = [str(folder / "node_modules/.bin/graphile-worker"), "-c", database]
    options = {"cwd": HERE, "env": {**os.environ, "SINK_URL": world.sink, "NODE_ENV": "production", "NO_LOG_SUCCESS": "1"}}
    count, seconds = world.of(5_000, 300), world.of(4, 1)

    def sql(*statements):
        for statement in statements:
            run(["psql", "-XqtAv", "ON_ERROR_STOP=1", "-d", database, "-c", statement], 120)

    def post():
        began = time.monotonic()
        sql(f"insert into orders_post (customer, total) select '+9198' || n, n from generate_series(1, {count}) n")
        return began

    def write(table, clients):
        file = world.logs / f"{table}.sql"
        file.write_text(f"insert into {table} (customer, total) values ('+919812345678', 42);\n", encoding="utf-8")
        command = [os.environ["PGBENCH"], "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(seconds), "-f", str(file), database]
        return float(re.search(r"tps = ([0-9.]+)", run(command, seconds + 60))[1])

    def one_round():
        found = {"graphile": world.rate("http", count, post)}
        for clients in (8, 32):
            plain = write("orders_plain", clients)
            found[f"graphile-writers-{clients}"] = write("orders_note", clients) / plain
            # What is left of its jobs must not disturb the next measurement.
            sql("delete from graphile_worker._private_jobs")
        return found

    run([*worker, "--schema-only"], 60, **options)
    sql(*(HERE / "tables.sql").read_text(encoding="utf-8").split("\n\n"))
    with program(world.logs / "graphile.log", [*worker, "-j", "50"], **options):
        yield one_round


@contextlib.contextmanager
def kannel(world):
    """SMS by HTTP to SMPP, two daemons, which its script starts and stops."""
    if not shutil.which("bearerbox", path=os.environ["PATH"] + ":/usr/sbin"):
        raise Skipped("bearerbox is not installed (apt-get install kannel)")
    script, count = str(HERE.parents[1] / "scripts/kannel"), world.of(10_000, 1_000)
    path = "/cgi-bin/sendsms?username=switchboard&password=sendsms&from=24466&to=%%2B9198%08d&text=" + TEXT
    try:
        started = run([script, "start"], 90, env={**os.environ, "FAR_END": str(world.smpp_port)})
        port = urlsplit(started.strip()).port

        def send():
            return load.send(port, [path % n for n in range(count)], 120)

        yield lambda: {"kannel": world.rate("smpp", count, send)}
    finally:
        run([script, "destroy"], 60)


@contextlib.contextmanager
def redis(world, port):
    if not shutil.which("redis-server"):
        raise Skipped("Jasmin needs Redis, which is not installed (apt-get install redis-server)")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(world.logs)]
    with program(world.logs / "redis.log", command):
        wait("Redis", 20, lambda: listens(port))
        yield


def console(port, commands):
    """Jasmin's console, which is made for people: a command, and what it says until the next prompt."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.settimeout(20)

        def until(*ends):
            seen = b""
            while not seen.rstrip().endswith(ends):
                try:
                    piece = connection.recv(4096)
                except TimeoutError:
                    piece = b""
                if not piece:
                    raise Failed(f"Jasmin's console says no more than {seen!r}")
                seen += piece
            return seen.decode("latin-1")

        connection.sendall(b"\r\n")  # it prompts only after the first line
        until(b"jcli :")
        for command in commands:
            connection.sendall(command.encode() + b"\r\n")
            said = until(b"jcli :", b">")
            if "rror" in said or "ncorrect" in said or "nknown" in said:
                raise Failed(f"Jasmin's console answers {command!r} with {said!r}")


CONSOLE = """group -a
gid g
ok
user -a
username switchboard
password sendsms
gid g
uid u
ok
smppccm -a
cid centre
host 127.0.0.1
port {centre}
username jasmin
password jasmin
submit_throughput 0
ok
mtrouter -a
type defaultroute
connector smppc(centre)
rate 0.0
ok
smppccm -1 centre"""


@contextlib.contextmanager
def jasmin(world):
    folder = installed(world, "jasmin")
    broker, home = urlsplit(os.environ["AMQP_URL"]), world.logs / "jasmin"
    for name in ("etc/jasmin/store", "var/log/jasmin"):
        (home / name).mkdir(parents=True, exist_ok=True)
    names = ("REDIS_CLIENT", "HTTP_API", "JCLI", "SMPP_SERVER", "SMPP_SERVER_PB", "CLIENT_MANAGEMENT", "ROUTER", "DLR", "INTERCEPTOR")
    ports = {name: free_port() for name in names}
    environment = {**os.environ, "ROOT_PATH": str(home), "LOG_PATH": str(home / "var/log/jasmin"), "JCLI_AUTHENTICATION": "no"}
    environment |= {f"{name}_PORT": str(port) for name, port in ports.items()}
    environment |= {f"{name}_BIND": "127.0.0.1" for name in names}
    environment |= {"AMQP_BROKER_HOST": "127.0.0.1", "AMQP_BROKER_PORT": str(broker.port), "REDIS_CLIENT_HOST": "127.0.0.1"}
    specification = next(folder.rglob("amqp0-9-1.stripped.xml"), None)
    if specification:
        environment |= {"RESOURCE_PATH": str(specification.parent), "AMQP_BROKER_SPEC": str(specification)}
    count = world.of(3_000, 200)
    path = "/send?username=switchboard&password=sendsms&from=24466&to=9198%08d&dlr=no&content=" + TEXT

    def send():
        return load.send(ports["HTTP_API"], [path % n for n in range(count)], 120)

    command = [str(folder / "bin/python"), str(folder / "bin/jasmind.py"), "--username=jcliadmin", "--password=jclipwd"]
    with redis(world, ports["REDIS_CLIENT"]), program(world.logs / "jasmin.log", command, env=environment, cwd=home):
        wait("Jasmin's console and HTTP", 60, lambda: listens(ports["JCLI"]) and listens(ports["HTTP_API"]))
        console(ports["JCLI"], CONSOLE.format(centre=world.smpp_port).split("\n"))
        time.sleep(2)  # it binds; a message before that waits in its queue
        yield lambda: {"jasmin": world.rate("smpp", count, send)}


ALL = {"celery": celery, "graphile": graphile, "kannel": kannel, "jasmin": jasmin}
