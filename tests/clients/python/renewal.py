"""What a client tells the suite: the token it has and when that ends, and how it comes through the death of its session."""

import json
import os
import time
import urllib.request


def tell(token, end, use):
    """Prints it. `token` and `end` ask the client, which has used its token once; `use` has it use its token again.

    With `BETWEEN_URL` in the environment whoever answers there ends the session, and the client goes on as it does by
    itself: nothing here touches what it keeps.
    """
    told = {"access_token": token(), "seconds_left": end() - time.time()}
    if between := os.environ.get("BETWEEN_URL"):
        ends = end()
        urllib.request.urlopen(between, timeout=30).close()
        told["refusals"] = []
        while not told.get("after"):
            tried = time.time()
            try:
                use()
                told |= {"after": token(), "renewed_after_end": tried - ends}
            except Exception as error:  # each client has errors of its own, and their words are what is asked for
                told["refusals"].append(f"{type(error).__name__}: {error}")
                if tried > ends + 10:
                    break
                time.sleep(0.1)
    print(json.dumps(told))
