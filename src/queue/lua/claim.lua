-- claim: give a worker the deliveries that it can start now, under a lease.
-- KEYS 1 fence counter  2 paused HASH  3 audit STREAM  4 remaining HASH  5 queue of the callback lane
--      6 callbacks put aside ZSET, all with score 0: `listener~id`
--      7 retries of the callback lane  8 claims not begun ZSET fence → end of its leases, ms
--      then eight for each lane: 9 queue LIST  10 in flight ZSET  11 deliveries HASH  12 retries ZSET  13 failed ZSET
--      14 breaker HASH  15 rate HASH  16 front of the queue LIST
-- ARGV 1 lease, ms  2 message key prefix  3 bytes that are free for all  4 deliveries at most in all, but for callbacks
--      5 fence of the claim that this call goes on with, 0 = it is a new one
--      6 1: leases that ran out are left alone, since those who live had no chance yet to renew theirs
--      7 when whoever asks has given up, Redis time in ms, 0 = never
--      then eleven for each lane: listener, at most n, strict order (0|1), rate count (0 = none), rate period ms,
--      breaker pause ms (0 = no breaker), concurrency, callback job for a delivery that fails here ('' = none; its `{id}`
--      is replaced), 1 when the lane audits its states (0: the callback lane), bytes it may take of those that are free,
--      bytes that are its own
-- →    { now, fence, then for each lane: { next due ms (-1 none), left in queue, deliveries failed, flat list of id, made, number, version, envelope }
--      or {}, of a lane that was not looked at, since the lanes before it took all there was to take, or nobody listens any more
--      or, of a lane with a key of another type, which is left alone: what is wrong }
--      It ends before the last lane where the call has taken long enough: the next one goes on with those that are left.
--
-- Due retries and new messages share the free slots half and half, so neither starves the other. A delivery whose lease
-- ran out goes to the back (in strict order: to the front), and is failed after the third time: it kills its workers. One
-- whose claim never arrived was not begun: it goes back as it was, with nothing counted and nothing told.
local fences, paused, audit, remaining, callbacks, aside = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local callback_retries, not_begun = KEYS[7], KEYS[8]
local duration, prefix, budget, slots = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local lenient = ARGV[6] == '1'
local wrong = mistyped(1, { 'string', 'hash', 'stream', 'hash' }) or mistyped(8, { 'zset' })
if wrong then return redis.error_reply(wrong) end
local now = clock()
allow_when_full(paused)

local fence, any = tonumber(ARGV[5]), false

-- What a call may take, µs, and what of it goes to what, measured. The lane at which that is reached may take a little more.
local AT_MOST = 1700
local COST = { lane = 50, item = 15, byte = 0.003, lost = 60, aside = 5 }
-- Of those whose callbacks were put aside.
local LISTENERS = 100
local spent = 0

-- How long what this version does not understand waits for one that does.
local NOT_OURS = 60000

-- As a shell reads it back: an id is whatever another program made it.
local function shell_word(text)
  if string.match(text, '^[%w_@%%+=:,./-]+$') then return text end
  return "'" .. string.gsub(text, "'", "'\\''") .. "'"
end

local function fail_here(lane, id, number, version, reason)
  version = next_version(version, now, fence)
  redis.call('ZREM', lane.in_flight, id)
  redis.call('HDEL', lane.deliveries, id)
  redis.call('ZADD', lane.failed, now, id)
  if lane.audited then
    local j = cjson.encode({ m = id, l = lane.name })
    tell(audit, 's', now, j, state_text('fallida', version, number, nil, reason))
  end
  if lane.job ~= '' then
    local job = string.gsub(lane.job, '{id}', function() return id end)
    queue_callback(callbacks, callback_retries, prefix, callback_id(id, lane.name, version), job)
  end
  release_body(remaining, prefix, id)
end

-- The attempt whose worker never told its outcome: its request may have been made, so it has a row. Should that worker live and
-- settle after all, its own row takes the place of this one.
local function tell_lost(lane, id, number, since, state)
  if not lane.audited then return end
  local j = cjson.encode({
    id = lost_attempt_id(id, lane.name, number), messageId = id, listener = lane.name, number = number, request = 1,
    startedAt = since, durationMs = now - since, phases = cjson.null, method = '', url = '', ip = cjson.null,
    requestHeaders = { ['X-Resthooks-Intento'] = tostring(number) }, status = cjson.null, responseHeaders = cjson.null,
    responseTruncated = false, error = 'sin_resultado', result = 'reintento', worker = '',
    errorDetail = 'el worker murió o quedó detenido antes de dejar el resultado; el pedido pudo haber llegado',
  })
  tell(audit, 'a', now, j, state)
end

-- Leases that ran out, as many as there is time for. → how many deliveries failed by that, and whether there are more such leases
local function rescue(lane)
  if lenient then return 0, false end
  local failed = 0
  local most = math.max(1, math.floor((AT_MOST - spent) / COST.lost))
  local expired = redis.call('ZRANGEBYSCORE', lane.in_flight, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
  spent = spent + COST.lost * #expired / 2
  for i = 1, #expired, 2 do
    local id, lease_end = expired[i], tonumber(expired[i + 1])
    local made, number, expiries, version, held = read_state(lane.deliveries, id)
    if held >= 0 and not redis.call('ZSCORE', not_begun, held) then
      number, expiries, version = number + 1, expiries + 1, next_version(version, now, fence)
      local state = state_text('pendiente', version, number, nil, 'el worker no dejó resultado: se entrega de nuevo')
      tell_lost(lane, id, number, lease_end - duration, state)
    end
    if held < 0 then
      redis.call('ZADD', lane.in_flight, now + NOT_OURS, id)
    elseif expiries >= 3 then
      fail_here(lane, id, number, version, 'el arriendo venció 3 veces sin resultado: la entrega tumba o cuelga al worker')
      failed = failed + 1
    else
      redis.call('ZREM', lane.in_flight, id)
      write_state(lane.deliveries, id, made, number, expiries, version, 0)
      if lane.strict then redis.call('LPUSH', head(lane.front, lane.queue), id) else redis.call('RPUSH', lane.queue, id) end
    end
  end
  return failed, #expired == most * 2
end

-- Token bucket of `most` that refills so slowly that no period holds more than `count` starts: in less than a period at most
-- `most` and what comes in meanwhile, which is less than `count - most + 1`. It saves up 50 ms' worth, for a worker that
-- wakes late. Of two requests the first may be longer on its way: the period is taken a little longer.
-- Returns the tokens there are, and how many come in a ms.
local function tokens(lane)
  local held = redis.call('HMGET', lane.rate, 'tokens', 'at')
  local most = math.max(1, math.floor(lane.count * math.min(50 / lane.period, 0.1)))
  local rate = (lane.count - most + 1) / (lane.period + math.min(100, lane.period / 20))
  local at = tonumber(held[2] or now)
  -- Redis's clock was put back: what comes in counts from now on, and not from when it will be that time again.
  if at > now then redis.call('HSET', lane.rate, 'at', now) end
  local passed = math.max(0, now - at)
  return math.min(most, tonumber(held[1] or most) + passed * rate), rate
end

-- How many the breaker lets through: all, none until `until`, or (half open, then recovering) as many as its ramp says. A lane without
-- a breaker is half open too, after a 410 was released.
local function breaker_allows(lane)
  local held = redis.call('HMGET', lane.breaker, 'state', 'until', 'ramp')
  local state = held[1] or 'closed'
  if state == 'closed' or (state == 'open' and lane.breaker_pause == 0) then return lane.n, -1 end
  local until_ = tonumber(held[2] or 0)
  if state == 'open' then
    if until_ > now + lane.breaker_pause then
      -- Likewise.
      until_ = now + lane.breaker_pause
      redis.call('HSET', lane.breaker, 'until', until_)
    end
    if until_ > now then return 0, until_ end
    redis.call('HSET', lane.breaker, 'state', 'half', 'ramp', 1)
    held[3] = 1
  end
  local free = tonumber(held[3]) - redis.call('ZCARD', lane.in_flight)
  return math.max(0, math.min(lane.n, free)), -1
end

local function earlier(a, b)
  if a < 0 then return b end
  if b < 0 then return a end
  return math.min(a, b)
end

local function pick(lane)
  local n, due = lane.n, -1
  local pause = redis.call('HGET', paused, lane.name)
  if pause then
    -- A pause that this version does not understand is one all the same.
    local until_ = tonumber(string.match(pause, '^%d+') or 0)
    if until_ == 0 then return {}, -1 end
    if until_ > now then return {}, until_ end
    redis.call('HDEL', paused, lane.name)
  end
  n, due = breaker_allows(lane)
  if n == 0 then return {}, due end
  if lane.count > 0 then
    local level, rate = tokens(lane)
    n = math.min(n, math.floor(level))
    if n == 0 then return {}, now + math.ceil((1 - level) / rate) end
    lane.level = level
  end
  if lane.strict then
    n = math.min(n, 1 - redis.call('ZCARD', lane.in_flight))
    if n <= 0 then return {}, -1 end
  end

  local ids
  if lane.strict and redis.call('ZCARD', lane.retries) > 0 then
    ids = redis.call('ZRANGEBYSCORE', lane.retries, '-inf', now, 'LIMIT', 0, 1)
  else
    local waiting = redis.call('LLEN', lane.queue) + redis.call('LLEN', lane.front)
    local most = waiting == 0 and n or math.max(math.ceil(n / 2), n - waiting)
    ids = redis.call('ZRANGEBYSCORE', lane.retries, '-inf', now, 'LIMIT', 0, most)
  end
  if #ids > 0 then redis.call('ZREM', lane.retries, unpack(ids)) end
  if #ids < n and not (lane.strict and redis.call('ZCARD', lane.retries) > 0) then
    for _, id in ipairs(pop(lane.front, lane.queue, n - #ids)) do ids[#ids + 1] = id end
  end
  local first = redis.call('ZRANGE', lane.retries, 0, 0, 'WITHSCORES')
  if first[2] then due = earlier(due, tonumber(first[2])) end
  return ids, due
end

-- Of the callback lane's slots (those in use and those that are free here) a listener may hold half of what the others leave:
-- one whose callbacks hang never holds up another's. What is beyond that is put aside, each once, and waits there by listener.
local function pick_callbacks(lane)
  local running, total = {}, 0
  local function count(listener)
    running[listener], total = (running[listener] or 0) + 1, total + 1
  end
  local function listener_of(id) return string.match(id, '~([^~]+)~%d+$') or '' end
  for _, id in ipairs(redis.call('ZRANGE', lane.in_flight, 0, -1)) do count(listener_of(id)) end
  local slots = total + lane.n
  local function may(listener)
    local own = running[listener] or 0
    return own < math.max(1, math.ceil((slots - total + own) / 2))
  end
  local ids = {}
  local function take(id, listener)
    count(listener)
    ids[#ids + 1] = id
  end

  -- Whose callbacks were put aside: of very many some, from another one on each time.
  local listeners = {}
  local all = redis.call('ZCARD', aside)
  if all > 0 then
    local last = redis.call('ZRANGE', aside, now % all, now % all)[1]
    local from, to = '(' .. string.match(last, '^[^~]*') .. '\127', '+'
    while #listeners < LISTENERS do
      local first = redis.call('ZRANGEBYLEX', aside, from, to, 'LIMIT', 0, 1)[1]
      if first then
        listeners[#listeners + 1] = string.match(first, '^[^~]*')
        -- The byte after the tilde: beyond everything of this listener.
        from = '(' .. listeners[#listeners] .. '\127'
      elseif to == '+' then
        from, to = '-', '[' .. last
      else
        break
      end
    end
    spent = spent + COST.aside * #listeners
  end
  -- Beginning with another listener each time.
  local function from_aside(most)
    for i = 1, #listeners do
      local listener = listeners[(now + i) % #listeners + 1]
      while #ids < most and may(listener) do
        local first = redis.call('ZRANGEBYLEX', aside, '[' .. listener .. '~', '(' .. listener .. '\127', 'LIMIT', 0, 1)[1]
        if not first then break end
        redis.call('ZREM', aside, first)
        take(string.sub(first, #listener + 2), listener)
      end
    end
  end
  local function from(candidates)
    spent = spent + COST.aside * #candidates
    for _, id in ipairs(candidates) do
      local listener = listener_of(id)
      if #ids < lane.n and may(listener) then take(id, listener)
      else redis.call('ZADD', aside, 0, listener .. '~' .. id) end
    end
    return #candidates
  end

  from_aside(math.floor((lane.n + now % 2) / 2))
  local due = redis.call('ZRANGEBYSCORE', lane.retries, '-inf', now, 'LIMIT', 0, lane.n)
  if #due > 0 then redis.call('ZREM', lane.retries, unpack(due)) end
  from(due)
  -- The rest of the time is for those that are claimed.
  local enough = spent + AT_MOST / 2
  while #ids < lane.n and spent < enough do
    if from(pop(lane.front, lane.queue, lane.n - #ids)) == 0 then break end
  end
  from_aside(lane.n)
  -- There is more to look through, at once.
  if #ids < lane.n and spent >= enough then return ids, now end
  return ids, tonumber(redis.call('ZRANGE', lane.retries, 0, 0, 'WITHSCORES')[2] or -1)
end

-- Reads a message where there is room for it: of what is free for all one may go beyond, of a lane's own bytes none.
-- Returns it (false: it is gone), or nil where there is no room, or no time.
local function read(lane, id)
  if spent >= AT_MOST then return nil end
  local key = prefix .. id
  if budget <= 0 or lane.room <= 0 then
    local length = redis.pcall('STRLEN', key)
    if lane.own <= 0 or (type(length) == 'number' and length > lane.own) then return nil end
  end
  -- What is no text is nobody's message.
  local raw = redis.pcall('GET', key)
  if type(raw) ~= 'string' then raw = false end
  local size = raw and #raw or 0
  budget, lane.room, lane.own = budget - size, lane.room - size, lane.own - size
  spent = spent + COST.item + COST.byte * size
  return raw
end

local function claim(lane)
  -- Before anything is taken: it may fail.
  if fence == 0 then fence = next_fence(fences, now) end
  spent = spent + COST.lane
  -- More: the next call finds something at once, however little this one gives.
  local failed, more = rescue(lane)
  local items = {}
  local ids, due = (lane.is_callbacks and pick_callbacks or pick)(lane)
  -- Read and written in one command for all of them: a command each cost more than the rest of the claim.
  local states = #ids > 0 and redis.call('HMGET', lane.deliveries, unpack(ids)) or {}
  local leased, held = {}, {}
  for index, id in ipairs(ids) do
    local raw = read(lane, id)
    local made, number, expiries, version, theirs = parse_state(states[index])
    if theirs < 0 then
      redis.call('ZADD', lane.retries, now + NOT_OURS, id)
      more = true
    elseif raw then
      held[#held + 1], held[#held + 2] = id, state_of(made, number, expiries, version, fence)
      leased[#leased + 1], leased[#leased + 2] = now + duration, id
      local at = #items
      items[at + 1], items[at + 2], items[at + 3], items[at + 4], items[at + 5] = id, made, number, version, raw
    elseif raw == false then
      fail_here(lane, id, number, version, 'el cuerpo del mensaje ya no está en Redis; reenvíelo con: resthooks reenviar ' .. shell_word(id))
      failed, more = failed + 1, true
    else
      -- Enough for this call: those that were not read go back to the front, the last one first. Of bytes there are more once
      -- something ends, of time at once.
      more = more or spent >= AT_MOST
      local back = {}
      for at = #ids, index, -1 do back[#back + 1] = ids[at] end
      redis.call('LPUSH', head(lane.front, lane.queue), unpack(back))
      break
    end
  end
  if #held > 0 then
    any = true
    redis.call('HSET', lane.deliveries, unpack(held))
    redis.call('ZADD', lane.in_flight, unpack(leased))
    if lane.level then
      redis.call('HSET', lane.rate, 'tokens', tostring(lane.level - #held / 2), 'at', now)
      redis.call('PEXPIRE', lane.rate, math.ceil(lane.period * 2))
    end
  end
  local left = redis.call('LLEN', lane.queue) + redis.call('LLEN', lane.front)
  if more then due = now end
  return { due, left + (lane.is_callbacks and redis.call('ZCARD', aside) or 0), failed, items }
end

local answer = { now, 0 }
-- A Redis that had stood still does what was asked of it long ago: nobody would work on what that claims.
if tonumber(ARGV[7]) > 0 and now > tonumber(ARGV[7]) then
  for i = 1, (#KEYS - 8) / 8 do answer[i + 2] = {} end
  return answer
end
for i = 0, (#KEYS - 8) / 8 - 1 do
  if i > 0 and spent >= AT_MOST then break end
  local k, a = 9 + i * 8, 8 + i * 11
  local lane = {
    queue = KEYS[k], in_flight = KEYS[k + 1], deliveries = KEYS[k + 2], retries = KEYS[k + 3], failed = KEYS[k + 4],
    breaker = KEYS[k + 5], rate = KEYS[k + 6], front = KEYS[k + 7],
    name = ARGV[a], n = math.min(tonumber(ARGV[a + 1]), 500), strict = ARGV[a + 2] == '1', count = tonumber(ARGV[a + 3]),
    period = tonumber(ARGV[a + 4]), breaker_pause = tonumber(ARGV[a + 5]), concurrency = tonumber(ARGV[a + 6]),
    job = ARGV[a + 7], audited = ARGV[a + 8] == '1', room = tonumber(ARGV[a + 9]), own = tonumber(ARGV[a + 10]),
  }
  lane.is_callbacks = not lane.audited
  if not lane.is_callbacks then lane.n = math.min(lane.n, slots) end
  if redis.call('EXISTS', lane.queue, lane.front, lane.in_flight, lane.retries, lane.is_callbacks and aside or lane.queue) == 0 then
    answer[#answer + 1] = { -1, 0, 0, {} }
  elseif lane.n == 0 then
    answer[#answer + 1] = {}
  else
    local claimed = mistyped(k, LANE) or (lane.is_callbacks and mistyped(6, { 'zset' })) or claim(lane)
    if not lane.is_callbacks and type(claimed) == 'table' then slots = slots - #claimed[4] / 5 end
    answer[#answer + 1] = claimed
  end
end
if any then note_claim(not_begun, fence, now + duration) end
answer[2] = fence
return answer
