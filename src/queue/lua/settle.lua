-- settle: record the attempts that just ended and move their deliveries on, all or nothing.
-- KEYS 1 audit STREAM  2 remaining HASH  3 queue of the callback lane  4 its retries  5 paused HASH  6 inbox LIST
--      then eight for each lane, as in claim: queue, in flight, deliveries, retries, failed, breaker, rate, front
-- ARGV 1 message key prefix   2 number of lanes L   then six for each lane: listener, breaker threshold percent (0 = none),
--      minimum, window ms, pause ms, concurrency
--      then for each attempt, separated by 0x1F: lane number, fence, verdict, attempt number, delay ms, breaker (ok|ko|''),
--        types, carries, id, reason
--        types: a letter (a|c) for each event   carries: `c` a callback, `m` a message for the inbox
--      and after that: callback job where there is one; the message where there is one; the events (JSON)
--      verdicts: ok, retry (after the delay), failed, gone (failed, and the listener is paused for good), requeue (at once, not counted),
--        wait (after the delay, not counted: this version does not understand what lies there)
-- →    one per attempt: 1 applied, 0 stale (lease lost to another worker; audited all the same), 2 nothing
--      was done, since a key of its lane is of another type: to be told again
--      then one per lane: what became of its breaker: 0 nothing new, 1 it opened, 2 it opened again, 3 it closed
--
-- The events are written whatever the fence says: the request did happen, whoever holds the lease now.
local audit, remaining, callbacks, callback_retries, paused, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local wrong = mistyped(1, { 'stream', 'hash' }) or mistyped(5, { 'hash', 'list' })
if wrong then return redis.error_reply(wrong) end
local prefix, lanes = ARGV[1], tonumber(ARGV[2])
local now = clock()
allow_when_full(paused)

local STATE = { ok = 'exitosa', retry = 'reintentando', wait = 'reintentando', failed = 'fallida', gone = 'fallida', requeue = 'pendiente' }

-- Failures in a sliding window, counted in two halves: the older one fades with time. Opens at `threshold` percent of at
-- least `minimum`; half open, each success doubles the ramp up to the concurrency, one failure opens again.
local function breaker(lane)
  local held = redis.call('HMGET', lane.breaker, 'state', 'ramp', 'since', 'ok', 'ko', 'old_ok', 'old_ko')
  local state = held[1] or 'closed'
  if state == 'open' then return 0 end
  if state == 'half' then
    local ramp = tonumber(held[2] or 1) * 2 ^ math.min(lane.good, 20)
    if lane.bad > 0 then
      redis.call('HSET', lane.breaker, 'state', 'open', 'until', now + lane.pause)
      return 2
    elseif ramp > lane.concurrency then
      redis.call('DEL', lane.breaker)
      return 3
    end
    redis.call('HSET', lane.breaker, 'ramp', ramp)
    return 0
  end
  if lane.threshold == 0 then return 0 end
  local since, half = tonumber(held[3] or now), lane.window / 2
  local good, bad = tonumber(held[4] or 0), tonumber(held[5] or 0)
  local old_good, old_bad = tonumber(held[6] or 0), tonumber(held[7] or 0)
  if now - since >= 2 * half then
    since, good, bad, old_good, old_bad = now, 0, 0, 0, 0
  elseif now - since >= half then
    since, old_good, old_bad, good, bad = since + half, good, bad, 0, 0
  end
  good, bad = good + lane.good, bad + lane.bad
  local share = 1 - (now - since) / half
  local failures, all = bad + old_bad * share, good + bad + (old_good + old_bad) * share
  if lane.bad > 0 and all >= lane.minimum and failures * 100 >= lane.threshold * all then
    redis.call('DEL', lane.breaker)
    redis.call('HSET', lane.breaker, 'state', 'open', 'until', now + lane.pause)
    return 1
  else
    redis.call('HSET', lane.breaker, 'since', since, 'ok', good, 'ko', bad, 'old_ok', old_good, 'old_ko', old_bad)
    redis.call('PEXPIRE', lane.breaker, math.ceil(lane.window))
    return 0
  end
end

local at = 3
local by_number = {}
for i = 1, lanes do
  local k = 7 + (i - 1) * 8
  by_number[i] = {
    queue = KEYS[k], in_flight = KEYS[k + 1], deliveries = KEYS[k + 2], retries = KEYS[k + 3], failed = KEYS[k + 4],
    breaker = KEYS[k + 5], front = KEYS[k + 7], name = ARGV[at], threshold = tonumber(ARGV[at + 1]), minimum = tonumber(ARGV[at + 2]),
    window = tonumber(ARGV[at + 3]), pause = tonumber(ARGV[at + 4]), concurrency = tonumber(ARGV[at + 5]),
    broken = mistyped(k, { 'list', 'zset', 'hash', 'zset', 'zset', 'hash', 'hash', 'list' }),
    -- What this call does to the lane: states by id, ids whose lease ends, ids that end for good, news for the breaker.
    ids = {}, states = {}, unleased = {}, ended = {}, good = 0, bad = 0,
  }
  at = at + 6
end

-- What can be told of all deliveries of a lane in one command is read before, and written after, going through them.
local HEAD = '^(%d+)\31(%d+)\31(%a+)\31(%d+)\31(%d+)\31(%a*)\31(%a*)\31(%a*)\31([^\31]*)\31(.*)$'
local attempts, answer, places = {}, {}, 0
while at <= #ARGV do
  local number, fence, verdict, made, delay, signal, types, carries, id, reason = string.match(ARGV[at], HEAD)
  local lane = by_number[tonumber(number)]
  lane.ids[#lane.ids + 1] = id
  places = places + 1
  local attempt = {
    place = places, lane = lane, id = id, fence = tonumber(fence), verdict = verdict, number = tonumber(made), delay = tonumber(delay),
    reason = reason, signal = signal, types = types,
  }
  at = at + 1
  if string.find(carries, 'c', 1, true) then
    attempt.job = ARGV[at]
    at = at + 1
  end
  if string.find(carries, 'm', 1, true) then
    attempt.message = ARGV[at]
    at = at + 1
  end
  attempt.at = at
  at = at + #types
  if lane.broken then answer[places] = 2 else attempts[#attempts + 1] = attempt end
end
for _, lane in ipairs(by_number) do
  if #lane.ids > 0 and not lane.broken then
    for i, state in ipairs(redis.call('HMGET', lane.deliveries, unpack(lane.ids))) do lane.states[lane.ids[i]] = state end
  end
end
local fan_out = redis.call('HLEN', remaining) > 0
local bodies = {}

for _, attempt in ipairs(attempts) do
  local lane, id, verdict, number, delay = attempt.lane, attempt.id, attempt.verdict, attempt.number, attempt.delay
  local made, _, _, version, held = parse_state(lane.states[id])
  local current = held == attempt.fence and held > 0
  version = next_version(version, now)
  local due = (verdict == 'retry' or verdict == 'wait') and now + delay or nil
  local state
  if current then
    state = state_text(STATE[verdict], version, number, due, attempt.reason)
  else
    -- Stale; the row that stood for this attempt while nobody knew its outcome goes.
    state = '-' .. lost_attempt_id(id, lane.name, number)
  end
  local events = #attempt.types
  for i = 1, events do
    local kind = string.sub(attempt.types, i, i)
    local told = (i == events and kind == 'a') and state or ''
    tell(audit, kind, now, ARGV[attempt.at + i - 1], told)
  end
  -- No request was made (an error of ours): the change itself must be told all the same.
  if current and events == 0 and lane.queue ~= callbacks then
    tell(audit, 's', now, cjson.encode({ m = id, l = lane.name }), state)
  end
  if current then
    -- Whatever else this call says of the same delivery is stale.
    lane.states[id] = false
    lane.unleased[#lane.unleased + 1] = id
    if due then
      write_state(lane.deliveries, id, verdict == 'wait' and made or made + 1, number, 0, version, 0)
      redis.call('ZADD', lane.retries, due, id)
    elseif verdict == 'requeue' then
      write_state(lane.deliveries, id, made, number, 0, version, 0)
      redis.call('LPUSH', head(lane.front, lane.queue), id)
    else
      lane.ended[#lane.ended + 1] = id
      if verdict ~= 'ok' then redis.call('ZADD', lane.failed, now, id) end
      if verdict == 'gone' then redis.call('HSET', paused, lane.name, '0 410') end
      if attempt.job then queue_callback(callbacks, callback_retries, prefix, callback_id(id, lane.name, version), attempt.job) end
      if attempt.message then redis.call('LPUSH', inbox, attempt.message) end
      if fan_out then
        release_body(remaining, prefix, id)
      else
        bodies[#bodies + 1] = prefix .. id
      end
    end
    if attempt.signal == 'ok' then lane.good = lane.good + 1 elseif attempt.signal == 'ko' then lane.bad = lane.bad + 1 end
  end
  answer[attempt.place] = current and 1 or 0
end

for _, lane in ipairs(by_number) do
  if #lane.unleased > 0 then redis.call('ZREM', lane.in_flight, unpack(lane.unleased)) end
  if #lane.ended > 0 then redis.call('HDEL', lane.deliveries, unpack(lane.ended)) end
  local news = lane.good + lane.bad > 0
  places = places + 1
  answer[places] = news and breaker(lane) or 0
end
if #bodies > 0 then redis.call('UNLINK', unpack(bodies)) end
return answer
