"""What the checks of replicas share: Salesforce, Redis, fleets, the crowd, and the table of what was seen."""

import contextlib
import time

import canary
from replicas_crowd import crowd
from replicas_parts import KINDS, PREFIX, Certificates, Redis, Replica, Salesforce, new_seal_key, until
from service import new_key, private_key, self_signed

# Integrations that no check has touched yet; each check takes what it needs, so that none sees traces of another.
POOL = [f"pool-{number:03}" for number in range(130)]


class Scene:
    """Everything that is there for the whole stage, and what is known about it."""

    def __init__(self, stack, checks, binary, folder):
        self.stack, self.checks, self.binary, self.folder = stack, checks, binary, folder
        private_key(folder / "app.key")
        self_signed(folder / "app.pem", folder / "app.key")
        secret = "secret-of-the-app-for-introspection"
        (folder / "client.secret").touch(mode=0o600)
        (folder / "client.secret").write_text(secret)
        canary.note("the secret of the app", secret)
        self.key, self.digest = new_key(binary, "crowd")
        self.caller_key = private_key(folder / "signer.key")
        self.certificates = Certificates(folder)
        users = [self.user(name) for name in POOL]
        # Each login opens a session of its own: so a second login can be seen by its token, too.
        self.salesforce = Salesforce(stack, binary, folder, users, "--switch", "running_session_handed_back=false")
        self.redis = self.new_redis("redis").start()
        self.left, self.rows, self.fleets = list(POOL), [], []

    def user(self, integration):
        return f"{integration}@replicas.example"

    def new_redis(self, name, bind="127.0.0.1", certificates=None, **options):
        return self.known(Redis(self.stack, self.folder, certificates or self.certificates, name, bind, **options))

    def known(self, redis):
        """Has its passwords searched for, and puts that of the service into a file."""
        name = redis.name
        canary.note(f"the owner's password of {name}", redis.owner)
        canary.note(f"the service's password of {name}", redis.password)
        (self.folder / f"{name}.password").touch(mode=0o600)
        (self.folder / f"{name}.password").write_text(redis.password)
        return redis

    def seal_key(self, name):
        return new_seal_key(self.binary, self.folder, name)

    def fresh(self, many=1):
        """Names of integrations that nobody has asked for yet."""
        if len(self.left) < many:
            raise RuntimeError("the pool of integrations is used up: make POOL larger")
        taken, self.left = self.left[:many], self.left[many:]
        return taken

    def config(self, store="", salesforce=None, integrations=POOL, lines=None, settings=""):
        """What a replica's configuration is made by. `lines` says more of an integration, by its name."""
        salesforce, folder = salesforce or self.salesforce, self.folder
        sections = "".join(
            f'[integrations.{name}]\naudience_url = "https://login.salesforce.com"\nclient_key_path = "{folder}/app.key"\n'
            f'client_id = "3MVG9.replicas"\nusername = "{self.user(name)}"\ntoken_url = "{salesforce.url}"\n'
            + ((lines or {}).get(name) or f'session_timeout = "2h"\n{KINDS[number % 2].format(folder=folder)}')
            for number, name in enumerate(integrations)
        )

        def written(replica):
            return (
                f'[server]\nlisten = "127.0.0.1:{replica.port}"\npublic_url = "https://aquila.example"\n'
                f'[ops]\nlisten = "127.0.0.1:{replica.ops}"\n[log]\nformat = "json"\n'
                f'[audit]\npath = "{folder}/{replica.name}.audit"\n{settings}{store}{sections}'
                f'[callers.crowd]\nintegrations = ["*"]\napi_key_sha256 = ["{self.digest}"]\n'
                f'[callers.signer]\nintegrations = ["*"]\npublic_keys = [{{ path = "{folder}/signer.pub" }}]\n'
            )

        return written

    def store(self, redis=None, port=None, host="localhost", where=None):
        """The section of the store; `where` says how Redis is found, where that is not one address."""
        redis = redis or self.redis
        where = where or f'url = "rediss://{host}:{port or redis.port}/0"'
        return (
            f'[store]\nseal_key_path = "{self.seal}"\n[store.redis]\n{where}\n'
            f'username = "aquila"\npassword_path = "{self.folder}/{redis.name}.password"\nca_path = "{redis.certificates.ca}"\n'
            f'key_prefix = "{PREFIX}"\n'
        )

    def replica(self, name, config, **options):
        replica = Replica(self, name, config, **options)
        self.stack.callback(replica.stop)
        return replica

    def fleet(self, name, many, config, **options):
        """Starts so many, and waits until they are ready."""
        fleet = [self.replica(f"{name}-{number}", config, **options).start() for number in range(1, many + 1)]
        return [replica.wait_until_ready() for replica in fleet]

    @contextlib.contextmanager
    def counted(self, salesforce=None):
        """How many POSTs there were meanwhile, once it is over."""
        salesforce, counted = salesforce or self.salesforce, Counted()
        before = salesforce.posts()
        counted.so_far = lambda: salesforce.posts() - before
        yield counted
        counted.posts = salesforce.posts() - before

    def ask(self, replicas, integrations, callers):
        """So many callers, spread evenly; their answers."""
        places = [(replica, integration) for replica in replicas for integration in integrations]
        share, rest = divmod(callers, len(places))
        return crowd([(*place, share + (number < rest)) for number, place in enumerate(places)], self.key)

    def judge(self, what, answers, salesforce=None, errors_allowed=()):
        """Every answer is a token that Salesforce knows, for no longer than that lives. The number of errors."""
        salesforce = salesforce or self.salesforce
        bad = [(a.replica.name, a.status, str(a.body)[:160]) for a in answers if a.status != 200 and a.status not in errors_allowed]
        self.checks.check(f"{what}: {len(answers)} callers, no error", answers and not bad, bad[:5] + [f"{len(bad)} of {len(answers)}"])
        good = [answer for answer in answers if answer.status == 200]
        ends = {token: salesforce.introspected(token) for token in {answer.body["access_token"] for answer in good}}
        dead = [token for token, end in ends.items() if not end]
        self.checks.check(f"{what}: every token lives", not dead, f"{len(dead)} of {len(ends)} do not")
        # `exp` is cut to whole seconds.
        over = [(a.body["expires_in"], ends[a.body["access_token"]] + 1 - a.began) for a in good]
        over = [pair for pair in over if not 0 < pair[0] <= pair[1]]
        self.checks.check(f"{what}: expires_in is never above what is left", not over, over[:5])
        return len(answers) - len(good)

    def bounded(self, what, posts, at_most, at_least=0):
        bound = f"{at_most}" if at_least == at_most else f"{at_least} to {at_most}"
        self.checks.check(f"{what}: {posts} POSTs at Salesforce, {bound} allowed", at_least <= posts <= at_most, posts)

    def row(self, fault, posts, bound, callers, errors, recovered, warm=""):
        """A line of the closing table; `recovered` in seconds, or None where nothing had to recover."""
        self.rows.append((fault, str(posts), str(bound), str(callers), str(errors), "-" if recovered is None else f"{recovered:.1f} s", warm))

    def table(self):
        head = ("fault", "POSTs", "bound", "callers", "errors", "recovered", "warm callers")
        widths = [max(len(row[at]) for row in (head, *self.rows)) for at in range(len(head))]
        for row in (head, tuple("-" * width for width in widths), *self.rows):
            print("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |", flush=True)


class Counted:
    posts = None


def shared(fleet, within=30.0):
    """Waits until all of them speak to the store; how long that took."""
    return until("every replica shares", lambda: all(one.store().get("state") == "shared" for one in fleet), within)[1]


def alone(fleet, within=15.0):
    """Waits until all of them know that they are alone; how long that took."""
    return until("every replica knows that it is alone", lambda: all(one.store().get("state") == "alone" for one in fleet), within)[1]


def settle(seconds):
    """Lets real time pass, where it is time itself that the service acts upon."""
    time.sleep(seconds)
