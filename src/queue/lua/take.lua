-- take: lease the next envelopes of the inbox to one dispatcher.
-- KEYS 1 inbox LIST   2 dispatching LIST   3 dispatch lease HASH   4 delayed ZSET   5 fence counter   6 inbox_invalid LIST
--      7 fan-out LIST: what is left to hand out of a message
-- ARGV 1 at most n    2 at most bytes      3 lease, ms             4 message key prefix   5 bytes of one at most
-- →    { fence, now, busy until or next delayed due (-1 none), entries left in the inbox, set aside as deadly, set aside as too large, envelope… }
--      fence 0: nothing to do, or another dispatcher holds the lease; a fence without envelopes: there is something to hand out
--
-- One dispatcher at a time, so that messages reach the queues in their order of arrival. The batch stays in `dispatching`
-- until it is dispatched: a crash loses nothing, the next one takes the same batch over. A batch that was taken over twice
-- is worked one envelope at a time, and one that was taken three times without an end is set aside as invalid: it kills
-- its worker.
local inbox, batch, lease, delayed, fences, invalid, parts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local most, bytes, duration, prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local largest, large = tonumber(ARGV[5]), 0
local wrong = mistyped(1, { 'list', 'list', 'hash', 'zset', 'string', 'list', 'list' })
if wrong then return redis.error_reply(wrong) end
local now = clock()
allow_when_full(lease)

-- What waited for its `demora` goes to the head of the inbox, stamped so that it does not wait again.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)) do
  local raw = redis.call('GET', prefix .. id)
  redis.call('ZREM', delayed, id)
  if raw then
    redis.call('RPUSH', inbox, raw)
    redis.call('UNLINK', prefix .. id)
  end
end
local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local wait = first[2] and tonumber(first[2]) or -1

local held = redis.call('HMGET', lease, 'until', 'takes', 'single')
local takes, single = tonumber(held[2] or 0), held[3] == '1'
local aside = 0
local size, handing_out = redis.call('LLEN', batch), redis.call('EXISTS', parts) == 1
local until_ = tonumber(held[1] or 0)
if (size > 0 or handing_out) and until_ > now then return { 0, now, until_, redis.call('LLEN', inbox), 0, 0 } end
if size > 0 then
  takes = takes + 1
  if takes >= 3 then
    if single then
      redis.call('LMOVE', batch, invalid, 'LEFT', 'LEFT')
      aside, size, takes = 1, size - 1, 1
    else
      single, takes = true, 1
    end
  end
end
if size == 0 then
  takes, single = 1, false
  local total = 0
  while size < most and total < bytes do
    local raw = redis.call('LMOVE', inbox, batch, 'RIGHT', 'RIGHT')
    if not raw then break end
    total = total + #raw
    if #raw > largest then
      -- Nobody reads it whole again.
      redis.call('LMOVE', batch, invalid, 'RIGHT', 'LEFT')
      large = large + 1
    else
      size = size + 1
    end
  end
  if size == 0 and not handing_out then return { 0, now, wait, redis.call('LLEN', inbox), aside, large } end
end

local fence = redis.call('INCR', fences)
redis.call('HSET', lease, 'fence', fence, 'until', now + duration, 'takes', takes, 'single', single and '1' or '0')
local answer = { fence, now, wait, redis.call('LLEN', inbox), aside, large }
for _, raw in ipairs(redis.call('LRANGE', batch, 0, single and 0 or -1)) do answer[#answer + 1] = raw end
return answer
