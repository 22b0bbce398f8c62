"""The login budget of a user, over a fleet, with the store and without it."""

import time

from replicas_scene import alone, shared

BUDGET = 6
# So short that each token ends a moment after it was minted.
LINES = f'session_timeout = "3s"\nconfirm_session = false\nlogin_budget_per_hour = {BUDGET}\n'


def budget(scene):
    """Tokens that live for a second: the fleet logs in as often as one process might, and no more."""
    # Redis of its own: this one goes away.
    redis = scene.new_redis("redis-of-the-budget").start()
    first, second = scene.fresh(2)
    store = scene.store(redis=redis)
    fleet = scene.fleet("budget", 3, scene.config(store, integrations=(first, second), lines={first: LINES, second: LINES}))
    shared(fleet)
    used, *seen = spend(scene, fleet, first)
    # A part of it is kept for those whose token is dead.
    scene.bounded("tokens end each second, shared budget", used, BUDGET, BUDGET - 1)
    scene.row(f"tokens end again and again, budget of {BUDGET}", used, BUDGET, *seen, None)
    redis.kill()
    alone(fleet)
    more, *seen = spend(scene, fleet, first)
    scene.bounded("the same with Redis away: at most a budget more", more, BUDGET)
    scene.row("the same with Redis away", more, BUDGET, *seen, None)
    other, *seen = spend(scene, fleet, second)
    scene.bounded("another user, with Redis away: each replica has its part", other, BUDGET, len(fleet))
    scene.row("another user, with Redis away", other, BUDGET, *seen, None)
    for replica in fleet:
        replica.stop()


def spend(scene, fleet, integration, most=20.0, idle=3.0):
    """Asks all the time, until nobody has logged in for a while: POSTs, callers, and those who got no token."""
    answers, posts = [], scene.salesforce.posts
    before = last = posts()
    end, changed = time.time() + most, time.time()
    while time.time() < min(end, changed + idle):
        answers += scene.ask(fleet, [integration], 9)
        if posts() != last:
            last, changed = posts(), time.time()
        time.sleep(0.05)
    other = [(answer.status, answer.body) for answer in answers if answer.status not in (200, 503)]
    scene.checks.check("who gets no token for want of a budget is told to come back", answers and not other, other[:2])
    without = sum(answer.status != 200 for answer in answers)
    return posts() - before, len(answers), f"{without} (503, as they must)"
