-- settle: record the attempts that just ended and move their deliveries on, all or nothing.
-- KEYS 1 audit STREAM  2 remaining HASH  3 queue of the callback lane  4 its retries  5 paused HASH  6 inbox LIST
--      then eight for each lane, as in claim: queue, in flight, deliveries, retries, failed, breaker, rate, front
-- ARGV 1 MessagePack: message key prefix, and then for each lane: listener, breaker threshold percent (0 = none), minimum, window ms,
--        pause ms, concurrency, list of the ids, and a list of what is told of each of them, nine after the other:
--          fence (text), verdict, attempt number, delay ms, breaker (ok|ko|''), reason, callback job (false = none),
--          message for the inbox (false = none), a letter (a|c) for each of its events
--      2… the events (JSON), in that order: MessagePack would copy what is only passed on
--        verdicts: ok, retry (after the delay), failed, gone (failed, and the listener is paused for good), requeue (at once, not counted),
--          wait (after the delay, not counted: this version does not understand what lies there)
-- →    for each lane a list: what became of its breaker (0 nothing new, 1 it opened, 2 it opened again, 3 it closed), and one
--      per attempt: 1 applied, 0 stale (lease lost to another worker; audited all the same), 2 nothing was done, since a key of
--      the lane is of another type: to be told again
--
-- The events are written whatever the fence says: the request did happen, whoever holds the lease now.
local audit, remaining, callbacks, callback_retries, paused, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local wrong = mistyped(1, { 'stream', 'hash' }) or mistyped(5, { 'hash', 'list' })
if wrong then return redis.error_reply(wrong) end
local told = cmsgpack.unpack(ARGV[1])
local prefix = told[1]
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
  -- Later than now: Redis's clock was put back.
  local since, half = math.min(tonumber(held[3] or now), now), lane.window / 2
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

local fan_out = redis.call('HLEN', remaining) > 0
local bodies, answer, event = {}, {}, 1

local function settle(lane, ids, attempts)
  -- What can be told of all deliveries of a lane in one command is read before, and written after, going through them.
  local states = redis.call('HMGET', lane.deliveries, unpack(ids))
  local over, unleased, ended = {}, {}, {}
  local codes = { 0 }
  for i, id in ipairs(ids) do
    local at = i * 9 - 8
    local fence, verdict, number, types = attempts[at], attempts[at + 1], attempts[at + 2], attempts[at + 8]
    -- Whatever else this call says of the same delivery is stale. Of most there is the fence alone.
    local text = not over[id] and states[i]
    local made, version, current = 0, 0, text == fence
    if text and not current then
      local counted, _, _, last, held = parse_state(text)
      made, version, current = counted, last, held > 0 and held == tonumber(fence)
    end
    version = next_version(version, now, tonumber(fence))
    local due = (verdict == 'retry' or verdict == 'wait') and now + attempts[at + 3] or nil
    local state
    if current then
      state = state_text(STATE[verdict], version, number, due, attempts[at + 5])
    else
      -- Stale; the row that stood for this attempt while nobody knew its outcome goes.
      state = '-' .. lost_attempt_id(id, lane.name, number)
    end
    for e = 1, #types do
      local kind = string.sub(types, e, e)
      event = event + 1
      tell(audit, kind, now, ARGV[event], (e == #types and kind == 'a') and state or '')
    end
    -- No request was made (an error of ours): the change itself must be told all the same.
    if current and types == '' and lane.queue ~= callbacks then
      tell(audit, 's', now, cjson.encode({ m = id, l = lane.name }), state)
    end
    if current then
      over[id] = true
      unleased[#unleased + 1] = id
      if due then
        write_state(lane.deliveries, id, verdict == 'wait' and made or made + 1, number, 0, version, 0)
        redis.call('ZADD', lane.retries, due, id)
      elseif verdict == 'requeue' then
        write_state(lane.deliveries, id, made, number, 0, version, 0)
        redis.call('LPUSH', head(lane.front, lane.queue), id)
      else
        local job, message = attempts[at + 6], attempts[at + 7]
        ended[#ended + 1] = id
        if verdict ~= 'ok' then redis.call('ZADD', lane.failed, now, id) end
        if verdict == 'gone' then redis.call('HSET', paused, lane.name, '0 410') end
        if job then queue_callback(callbacks, callback_retries, prefix, callback_id(id, lane.name, version), job) end
        if message then redis.call('LPUSH', inbox, message) end
        if fan_out then
          release_body(remaining, prefix, id)
        else
          bodies[#bodies + 1] = prefix .. id
        end
      end
      local signal = attempts[at + 4]
      if signal == 'ok' then lane.good = lane.good + 1 elseif signal == 'ko' then lane.bad = lane.bad + 1 end
    end
    codes[i + 1] = current and 1 or 0
  end
  if #unleased > 0 then redis.call('ZREM', lane.in_flight, unpack(unleased)) end
  if #ended > 0 then redis.call('HDEL', lane.deliveries, unpack(ended)) end
  if lane.good + lane.bad > 0 then codes[1] = breaker(lane) end
  return codes
end

local k = 7
for at = 2, #told, 8 do
  local ids, codes = told[at + 6], nil
  if mistyped(k, LANE) then
    codes = { 0 }
    for i = 1, #ids do codes[i + 1], event = 2, event + #told[at + 7][i * 9] end
  else
    codes = settle({
      queue = KEYS[k], in_flight = KEYS[k + 1], deliveries = KEYS[k + 2], retries = KEYS[k + 3], failed = KEYS[k + 4],
      breaker = KEYS[k + 5], front = KEYS[k + 7], name = told[at], threshold = told[at + 1], minimum = told[at + 2],
      window = told[at + 3], pause = told[at + 4], concurrency = told[at + 5], good = 0, bad = 0,
    }, ids, told[at + 7])
  end
  answer[#answer + 1] = codes
  k = k + 8
end
if #bodies > 0 then redis.call('UNLINK', unpack(bodies)) end
return answer
