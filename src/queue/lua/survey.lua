-- survey: how full some lanes are, and what stands at their front. Only reads; the same whatever the queues' length.
-- KEYS eight for each lane, as in claim: queue, in flight, deliveries, retries, failed, breaker, rate, front
-- →    for each lane {} where it has nothing at all; else { queue, front, in flight, retries, failed, first of the queue, first of
--      the retries, when that is due, state of the breaker, when it lets a trial through, what is wrong with a key of another type }
--
-- A key of another type counts as empty: what is beside it is worth seeing.
local KINDS = { 'list', 'zset', 'hash', 'zset', 'zset', 'hash', 'hash', 'list' }

local function asked(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then return false end
  return answer
end

local answer = {}
for k = 1, #KEYS, 8 do
  local queue, in_flight, retries, failed, breaker, front = KEYS[k], KEYS[k + 1], KEYS[k + 3], KEYS[k + 4], KEYS[k + 5], KEYS[k + 7]
  if redis.call('EXISTS', unpack(KEYS, k, k + 7)) == 0 then
    answer[#answer + 1] = {}
  else
    local first = asked('ZRANGE', retries, 0, 0, 'WITHSCORES') or {}
    local held = asked('HMGET', breaker, 'state', 'until') or {}
    answer[#answer + 1] = {
      asked('LLEN', queue) or 0, asked('LLEN', front) or 0, asked('ZCARD', in_flight) or 0, asked('ZCARD', retries) or 0,
      asked('ZCARD', failed) or 0, asked('LINDEX', front, 0) or asked('LINDEX', queue, 0) or '', first[1] or '', first[2] or '',
      held[1] or '', held[2] or '', mistyped(k, KINDS) or '',
    }
  end
end
return answer
