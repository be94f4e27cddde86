-- claim: give a worker the deliveries that it can start now, under a lease.
-- KEYS 1 fence counter  2 paused HASH  3 audit STREAM  4 remaining HASH  5 queue of the callback lane
--      then seven for each lane: 6 queue LIST  7 in flight ZSET  8 deliveries HASH  9 retries ZSET  10 failed ZSET
--      11 breaker HASH  12 rate HASH
-- ARGV 1 lease, ms  2 message key prefix  3 at most bytes in all
--      then nine for each lane: listener, at most n, strict order (0|1), rate count (0 = none), rate period ms,
--      breaker pause ms (0 = no breaker), concurrency, callback job for a delivery that fails here ('' = none; its `{id}`
--      is replaced), 1 when the lane audits its states
-- →    { now, fence, then for each lane: { next due ms (-1 none), left in queue, deliveries failed, flat list of id, made, number, version, envelope } }
--
-- Due retries and new messages share the free slots half and half, so neither starves the other. A delivery whose lease
-- ran out goes to the back (in strict order: to the front), and is failed after the third time: it kills its workers. One
-- whose claim never arrived was not begun: it goes back as it was, with nothing counted and nothing told.
local fences, paused, audit, remaining, callbacks = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local duration, prefix, budget = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local now = clock()
allow_when_full(paused)

local fence = 0
local function new_fence()
  if fence == 0 then fence = redis.call('INCR', fences) end
  return fence
end

local function fail_here(lane, id, number, version, reason)
  redis.call('ZREM', lane.in_flight, id)
  redis.call('HDEL', lane.deliveries, id)
  redis.call('ZADD', lane.failed, now, id)
  if lane.audited then
    local j = cjson.encode({ m = id, l = lane.name })
    tell(audit, 's', now, j, state_text('fallida', version + 1, number, nil, reason))
  end
  if lane.job ~= '' then
    local job = string.gsub(lane.job, '{id}', function() return id end)
    queue_callback(callbacks, prefix, id .. '~' .. lane.name .. '~' .. (version + 1), job)
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

-- Leases that ran out. At most 100 a call: the rest is found by the next one.
local function rescue(lane)
  local failed = 0
  local expired = redis.call('ZRANGEBYSCORE', lane.in_flight, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 100)
  for i = 1, #expired, 2 do
    local id, lease_end = expired[i], tonumber(expired[i + 1])
    local made, number, expiries, version = read_state(lane.deliveries, id)
    if is_begun(lease_end) then
      number, expiries, version = number + 1, expiries + 1, version + 1
      local state = state_text('pendiente', version, number, nil, 'el worker no dejó resultado: se entrega de nuevo')
      tell_lost(lane, id, number, lease_end - duration, state)
    end
    if expiries >= 3 then
      fail_here(lane, id, number, version, 'el arriendo venció 3 veces sin resultado: la entrega tumba o cuelga al worker')
      failed = failed + 1
    else
      redis.call('ZREM', lane.in_flight, id)
      write_state(lane.deliveries, id, made, number, expiries, version, 0)
      redis.call(lane.strict and 'LPUSH' or 'RPUSH', lane.queue, id)
    end
  end
  return failed
end

-- Token bucket: `count` tokens a period, of which at most a tenth is saved up: with a whole period's worth a listener that
-- was idle would get twice its limit in its first period. Returns how many may start now.
local function tokens(lane)
  local held = redis.call('HMGET', lane.rate, 'tokens', 'at')
  local most = math.max(1, lane.count / 10)
  local passed = math.max(0, now - tonumber(held[2] or now))
  return math.min(most, tonumber(held[1] or most) + passed * lane.count / lane.period)
end

-- How many the breaker lets through: all, none until `until`, or (half open, then recovering) as many as its ramp says.
local function breaker_allows(lane)
  local held = redis.call('HMGET', lane.breaker, 'state', 'until', 'ramp')
  local state = held[1] or 'closed'
  if state == 'closed' then return lane.n, -1 end
  local until_ = tonumber(held[2] or 0)
  if state == 'open' then
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
    local until_ = tonumber(string.match(pause, '^%d+'))
    if until_ == 0 then return {}, -1 end
    if until_ > now then return {}, until_ end
    redis.call('HDEL', paused, lane.name)
  end
  if lane.breaker_pause > 0 then
    n, due = breaker_allows(lane)
    if n == 0 then return {}, due end
  end
  local level
  if lane.count > 0 then
    level = tokens(lane)
    n = math.min(n, math.floor(level))
    if n == 0 then return {}, now + math.ceil((1 - level) * lane.period / lane.count) end
  end
  if lane.strict then
    n = math.min(n, 1 - redis.call('ZCARD', lane.in_flight))
    if n <= 0 then return {}, -1 end
  end

  local ids
  if lane.strict and redis.call('ZCARD', lane.retries) > 0 then
    ids = redis.call('ZRANGEBYSCORE', lane.retries, '-inf', now, 'LIMIT', 0, 1)
  else
    local waiting = redis.call('LLEN', lane.queue)
    local most = waiting == 0 and n or math.max(math.ceil(n / 2), n - waiting)
    ids = redis.call('ZRANGEBYSCORE', lane.retries, '-inf', now, 'LIMIT', 0, most)
  end
  if #ids > 0 then redis.call('ZREM', lane.retries, unpack(ids)) end
  if #ids < n and not (lane.strict and redis.call('ZCARD', lane.retries) > 0) then
    for _, id in ipairs(redis.call('LPOP', lane.queue, n - #ids) or {}) do ids[#ids + 1] = id end
  end
  if level and #ids > 0 then
    redis.call('HSET', lane.rate, 'tokens', tostring(level - #ids), 'at', now)
    redis.call('PEXPIRE', lane.rate, math.ceil(lane.period * 2))
  end
  local first = redis.call('ZRANGE', lane.retries, 0, 0, 'WITHSCORES')
  if first[2] then due = earlier(due, tonumber(first[2])) end
  return ids, due
end

local answer = { now, 0 }
local lanes = (#KEYS - 5) / 7
for i = 0, lanes - 1 do
  local k, a = 6 + i * 7, 4 + i * 9
  local lane = {
    queue = KEYS[k], in_flight = KEYS[k + 1], deliveries = KEYS[k + 2], retries = KEYS[k + 3], failed = KEYS[k + 4],
    breaker = KEYS[k + 5], rate = KEYS[k + 6],
    name = ARGV[a], n = math.min(tonumber(ARGV[a + 1]), 500), strict = ARGV[a + 2] == '1', count = tonumber(ARGV[a + 3]),
    period = tonumber(ARGV[a + 4]), breaker_pause = tonumber(ARGV[a + 5]), concurrency = tonumber(ARGV[a + 6]),
    job = ARGV[a + 7], audited = ARGV[a + 8] == '1',
  }
  local failed = rescue(lane)
  local items = {}
  local ids, due = pick(lane)
  -- Read and written in one command for all of them: a command each cost more than the rest of the claim.
  local states = #ids > 0 and redis.call('HMGET', lane.deliveries, unpack(ids)) or {}
  local leased, held = {}, {}
  for index, id in ipairs(ids) do
    local raw = budget > 0 and redis.call('GET', prefix .. id)
    local made, number, expiries, version = parse_state(states[index])
    if raw then
      budget = budget - #raw
      held[#held + 1], held[#held + 2] = id, state_of(made, number, expiries, version, new_fence())
      leased[#leased + 1], leased[#leased + 2] = unheard(now + duration), id
      local at = #items
      items[at + 1], items[at + 2], items[at + 3], items[at + 4], items[at + 5] = id, made, number, version, raw
    elseif budget > 0 then
      fail_here(lane, id, number, version, 'el cuerpo del mensaje ya no está en Redis; reenvíelo con: resthooks reenviar ' .. id)
      failed = failed + 1
    else
      -- Enough bytes for this call: those that were not read go back to the front, the last one first.
      for back = #ids, index, -1 do redis.call('LPUSH', lane.queue, ids[back]) end
      break
    end
  end
  if #held > 0 then
    redis.call('HSET', lane.deliveries, unpack(held))
    redis.call('ZADD', lane.in_flight, unpack(leased))
  end
  answer[#answer + 1] = { due, redis.call('LLEN', lane.queue), failed, items }
end
answer[2] = fence
return answer
