//! What Redis does in one step each, in Lua. Each script returns a list of texts, the store's clock first.
//!
//! They are sent whole each time: there is no script cache to lose in a failover, and a kilobyte is cheap beside a login.
//! They read as if anybody could have written anything: a name of the wrong type counts as absent and gives way, a number
//! that is none is 0, and a value above the limit stays where it is.
//!
//! The client of a Cluster sends one again when the connection broke before the answer, and Redis may have done it by then.
//! So what gives something out once has the name of this one question, and gives it again to who asks by the same name.

/// A script with what all of them begin with.
macro_rules! script {
    ($($line:literal)+) => {
        concat!(
            "local t = redis.call('TIME') ",
            "local now = t[1] * 1000000 + t[2] ",
            // Above this two numbers in a row are the same.
            "local function num(s) local n = tonumber(s or '') ",
            "if n and n >= 0 and n < 9007199254740000 then return math.floor(n) end return 0 end ",
            "local function say(n) return string.format('%.0f', n) end ",
            // A fence of the day after tomorrow was planted: above the largest number there would be no next one.
            "local function near(n) if n > now + 86400000000 then return 0 end return n end ",
            // What has more left than it is ever given is from before the clock was set back, or planted.
            "local function left(key, most) local l = redis.call('PTTL', key) ",
            "if l < 0 or l > tonumber(most) then return 0 end return l end ",
            "local function is(key, kind) return redis.call('TYPE', key).ok == kind end ",
            "local function own(key, kind) local found = redis.call('TYPE', key).ok ",
            "if found ~= kind and found ~= 'none' then redis.call('DEL', key) end end ",
            $($line, "\n",)+
        )
    };
}

/// KEYS token, failure, lease, fence; ARGV largest value, lease in ms. Returns now; kind, fence and value of what stands in
/// the token's place; kind, fence and value of the failure; milliseconds left of the lease; the last fence that was given
/// out.
pub(super) const LOOK: &str = script! {
    "local function shelf(key)"
    "  if not is(key, 'hash') then return '', '0', '' end"
    "  local found = redis.call('HMGET', key, 'k', 'f')"
    "  local value = ''"
    "  if redis.call('HSTRLEN', key, 'v') <= tonumber(ARGV[1]) then value = redis.call('HGET', key, 'v') or '' end"
    "  return string.sub(found[1] or '?', 1, 16), say(num(found[2])), value"
    "end"
    "local kind, fence, value = shelf(KEYS[1])"
    "local failed, failed_fence, failure = shelf(KEYS[2])"
    "local given = is(KEYS[4], 'string') and near(num(redis.call('GET', KEYS[4]))) or 0"
    "return {say(now), kind, fence, value, failed, failed_fence, failure, say(left(KEYS[3], ARGV[2])), say(given)}"
};

/// KEYS token, lease, fence; ARGV owner, lease in ms, fence in ms, the last fence as it was seen, another one that was seen
/// before. Returns now and: `lease` and its fence, above all of these; `held` and milliseconds; `moved` when somebody was
/// given the lease since, whatever came of it.
pub(super) const ACQUIRE: &str = script! {
    "own(KEYS[1], 'hash') own(KEYS[2], 'string') own(KEYS[3], 'string')"
    "local stands = near(num(redis.call('HGET', KEYS[1], 'f')))"
    "local given = near(num(redis.call('GET', KEYS[3])))"
    "if redis.call('GET', KEYS[2]) == ARGV[1] then return {say(now), 'lease', say(given)} end"
    "if say(given) ~= ARGV[4] then return {say(now), 'moved'} end"
    // A lease without an end is nobody's.
    "local held = left(KEYS[2], ARGV[2])"
    "if held > 0 then return {say(now), 'held', say(held)} end"
    "local fence = math.max(now, given + 1, stands + 1, near(num(ARGV[5])) + 1)"
    "redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])"
    "redis.call('SET', KEYS[3], say(fence), 'PX', ARGV[3])"
    "return {say(now), 'lease', say(fence)}"
};

/// KEYS lease, fence; ARGV owner, lease in ms, fence in ms, the owner's fence. Returns now and `held` or `lost`. A lease that
/// is gone, by its end or by a flush, is never taken again: what stood here may have been forgotten with it.
pub(super) const BEAT: &str = script! {
    "own(KEYS[1], 'string') own(KEYS[2], 'string')"
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[4] then return {say(now), 'lost'} end"
    "redis.call('PEXPIRE', KEYS[1], ARGV[2])"
    "redis.call('PEXPIRE', KEYS[2], ARGV[3])"
    "return {say(now), 'held'}"
};

/// KEYS the place to write to, fence, failure; ARGV kind, fence, value, ms to keep it, ms of the fence. Returns now and
/// `kept`, or `overtaken` when another fence than this was the last. A token takes the failure away.
///
/// The last fence decides and nothing else does: after a flush, or when the mark of a dropped token has had its time, what
/// stands in the place would no longer tell who came later.
pub(super) const PUT: &str = script! {
    "own(KEYS[1], 'hash') own(KEYS[2], 'string')"
    "if redis.call('GET', KEYS[2]) ~= ARGV[2] then return {say(now), 'overtaken'} end"
    "redis.call('DEL', KEYS[1])"
    "redis.call('HSET', KEYS[1], 'k', ARGV[1], 'f', ARGV[2], 'v', ARGV[3])"
    "redis.call('PEXPIRE', KEYS[1], ARGV[4])"
    "redis.call('PEXPIRE', KEYS[2], ARGV[5])"
    "if ARGV[1] == 'token' then redis.call('DEL', KEYS[3]) end"
    "return {say(now), 'kept'}"
};

/// KEYS lease or probe; ARGV owner. Returns now, and `released` or `gone`.
pub(super) const RELEASE: &str = script! {
    "if is(KEYS[1], 'string') and redis.call('GET', KEYS[1]) == ARGV[1] then"
    "  redis.call('DEL', KEYS[1]) return {say(now), 'released'}"
    "end"
    "return {say(now), 'gone'}"
};

/// KEYS any. Returns now.
pub(super) const REMOVE: &str = script! {
    "for _, key in ipairs(KEYS) do redis.call('DEL', key) end"
    "return {say(now)}"
};

/// KEYS logins; ARGV the most, span in µs, name of this login. Returns now and: `counted` and how many are left; `full` and
/// µs until there is room.
pub(super) const COUNT: &str = script! {
    "own(KEYS[1], 'zset')"
    "local most, span = tonumber(ARGV[1]), tonumber(ARGV[2])"
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', say(now - span))"
    // What lies in the future is from before the clock was set back: it counts as made now.
    "for _ = 1, 10000 do"
    "  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')"
    "  if not last[2] or tonumber(last[2]) <= now then break end"
    "  redis.call('ZADD', KEYS[1], say(now), last[1])"
    "end"
    "local count = redis.call('ZCARD', KEYS[1])"
    "if redis.call('ZSCORE', KEYS[1], ARGV[3]) then return {say(now), 'counted', say(math.max(most - count, 0))} end"
    "if count < most then"
    "  redis.call('ZADD', KEYS[1], say(now), ARGV[3])"
    "  redis.call('PEXPIRE', KEYS[1], say(math.ceil(span / 1000)))"
    "  return {say(now), 'counted', say(most - count - 1)}"
    "end"
    "local frees = redis.call('ZRANGE', KEYS[1], count - most, count - most, 'WITHSCORES')"
    "local wait = math.min(math.max(num(frees[2]) + span - now, 0), span)"
    "return {say(now), 'full', say(wait)}"
};

/// KEYS circuit, probe; ARGV tolerated, owner, ms of a probe, longest pause in ms. Returns now and: `go`; `probe`; `wait`
/// and milliseconds.
pub(super) const ENTER: &str = script! {
    "if not is(KEYS[1], 'hash') then return {say(now), 'go'} end"
    "local found = redis.call('HMGET', KEYS[1], 'n', 'until')"
    "if num(found[1]) < tonumber(ARGV[1]) then return {say(now), 'go'} end"
    "local opens = num(found[2])"
    "if opens > now and opens <= now + ARGV[4] * 1000 then return {say(now), 'wait', say(math.ceil((opens - now) / 1000))} end"
    "own(KEYS[2], 'string')"
    "if redis.call('GET', KEYS[2]) == ARGV[2] then return {say(now), 'probe'} end"
    "local probed = left(KEYS[2], ARGV[3])"
    "if probed > 0 then return {say(now), 'wait', say(probed)} end"
    "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])"
    "return {say(now), 'probe'}"
};

/// KEYS circuit, probe; ARGV tolerated, replica, shortest and longest pause in ms, share of it, ms to keep it. Returns now
/// and how many failures there were in a row, each of another replica than the one before: one that is cut off alone counts
/// as one, however often it fails.
pub(super) const FAILED: &str = script! {
    "own(KEYS[1], 'hash')"
    "redis.call('DEL', KEYS[2])"
    "local count = num(redis.call('HGET', KEYS[1], 'n'))"
    "if redis.call('HGET', KEYS[1], 'last') ~= ARGV[2] then count = math.min(count + 1, 1000000) end"
    "redis.call('HSET', KEYS[1], 'n', say(count), 'last', ARGV[2])"
    "local beyond = count - tonumber(ARGV[1])"
    "if beyond >= 0 then"
    "  local pause = math.min(tonumber(ARGV[3]) * 2 ^ math.min(beyond, 20), tonumber(ARGV[4])) * tonumber(ARGV[5])"
    "  redis.call('HSET', KEYS[1], 'until', say(now + pause * 1000))"
    "end"
    "redis.call('PEXPIRE', KEYS[1], ARGV[6])"
    "return {say(now), say(count)}"
};

/// KEYS mark; ARGV ms, name of this use. Returns now, and `first` or `again`.
pub(super) const MARK: &str = script! {
    "if redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[1]) then return {say(now), 'first'} end"
    "if is(KEYS[1], 'string') and redis.call('GET', KEYS[1]) == ARGV[2] then return {say(now), 'first'} end"
    "return {say(now), 'again'}"
};

/// KEYS probe; ARGV text, ms. Writes, and returns now and what stood there before.
pub(super) const PROBE: &str = script! {
    "own(KEYS[1], 'string')"
    "local before = redis.call('GET', KEYS[1])"
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"
    "return {say(now), before and string.sub(before, 1, 64) or ''}"
};

/// KEYS events; ARGV the most, tag, kind, fence, replica. Returns now.
pub(super) const TELL: &str = script! {
    "own(KEYS[1], 'stream')"
    "redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 't', ARGV[2], 'k', ARGV[3], 'f', ARGV[4], 'r', ARGV[5])"
    "return {say(now)}"
};

/// KEYS events. Returns now, and the first and the last event that there are.
pub(super) const ENDS: &str = script! {
    "if not is(KEYS[1], 'stream') then return {say(now), '', ''} end"
    "local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)"
    "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)"
    "return {say(now), first[1] and first[1][1] or '', last[1] and last[1][1] or ''}"
};

/// KEYS of a hash, a set, a stream and a text. Does all that the other scripts do, and returns now: a right that is missing
/// is found when the connection is made, not by the first flight.
pub(super) const TRIAL: &str = script! {
    "for _, key in ipairs(KEYS) do redis.call('DEL', key) end"
    "redis.call('HSET', KEYS[1], 'f', '1') redis.call('HGET', KEYS[1], 'f') redis.call('HMGET', KEYS[1], 'f')"
    "redis.call('HSTRLEN', KEYS[1], 'f') redis.call('TYPE', KEYS[1])"
    "redis.call('PEXPIRE', KEYS[1], 1000) redis.call('PTTL', KEYS[1])"
    "redis.call('ZADD', KEYS[2], 1, 'a') redis.call('ZCARD', KEYS[2]) redis.call('ZSCORE', KEYS[2], 'a')"
    "redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES') redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', 1)"
    "redis.call('XADD', KEYS[3], 'MAXLEN', '~', 1, '*', 'a', '1')"
    "redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1) redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)"
    "redis.call('XREAD', 'COUNT', 1, 'STREAMS', KEYS[3], '0')"
    "redis.call('SET', KEYS[4], '1', 'PX', 1000) redis.call('GET', KEYS[4])"
    "for _, key in ipairs(KEYS) do redis.call('DEL', key) end"
    "return {say(now)}"
};
