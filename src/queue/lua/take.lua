-- take: lease the oldest envelopes of the inbox to one dispatcher; they stay where they are until they are dispatched.
-- KEYS 1 inbox LIST   2 dispatching LIST   3 dispatch lease HASH   4 delayed ZSET   5 fence counter   6 inbox_invalid LIST
--      7 fan-out LIST: what is left to hand out of a message
-- ARGV 1 at most n    2 at most bytes      3 lease, ms             4 message key prefix   5 bytes of one at most
-- →    { fence, now, busy until or next delayed due (-1 none), entries of the inbox that were not leased, set aside as deadly, set aside as too large, envelope… }
--      fence 0: nothing to do, or another dispatcher holds the lease; a fence without envelopes: there is something to hand out
--
-- One dispatcher at a time, so that messages reach the queues in their order of arrival. New entries come in at the other end,
-- and what waited for its `demora` only while nothing is leased: the leased ones do not move. A crash loses nothing, the
-- next one takes the same over. What was taken over twice is worked one envelope at a time, and one that was taken three times
-- without an end is set aside as invalid: it kills its worker.
--
-- A worker of the version before moves what it takes to `dispatching`, under the same lease. What it leaves there goes back.
local inbox, batch, lease, delayed, fences, invalid, parts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local most, bytes, duration, prefix, largest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local wrong = mistyped(1, { 'list', 'list', 'hash', 'zset', 'string', 'list', 'list' })
if wrong then return redis.error_reply(wrong) end
local now = clock()
allow_when_full(lease)

local held = redis.call('HMGET', lease, 'until', 'takes', 'single', 'count')
local until_, takes, single, count = tonumber(held[1] or 0), tonumber(held[2] or 0), tonumber(held[3] or 0), tonumber(held[4] or 0)
local handing_out, older = redis.call('EXISTS', parts) == 1, redis.call('LLEN', batch)
-- One that ends later than any can is from before Redis's clock was put back, or from a server whose clock is ahead of this one's.
if until_ > now + duration then until_ = 0 end
if until_ > now and count + older + (handing_out and 1 or 0) > 0 then return { 0, now, until_, redis.call('LLEN', inbox), 0, 0 } end
if older > 0 then
  for _ = 1, older do redis.call('LMOVE', batch, inbox, 'RIGHT', 'RIGHT') end
  count, single = older, single > 0 and older or 0
end

-- Who had the lease did not come to an end with it.
local aside, large = 0, 0
takes = takes + 1
if takes >= 3 then
  if single == 0 or handing_out then
    single, takes = count, 1
  else
    redis.call('LMOVE', inbox, invalid, 'RIGHT', 'LEFT')
    aside, single, takes = 1, single - 1, 1
  end
end

-- What waited for its `demora` goes to the head of the inbox, stamped so that it does not wait again, the first one due at the very
-- end; no more of it than this batch has room for, or what is due later would come before the rest.
if takes == 1 and single == 0 then
  local due, total = {}, 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, math.min(most, 100))) do
    -- What is no text is nobody's message.
    local raw = redis.pcall('GET', prefix .. id)
    local size = type(raw) == 'string' and #raw or 0
    if #due > 0 and total + size > bytes then break end
    redis.call('ZREM', delayed, id)
    redis.call('UNLINK', prefix .. id)
    if size > 0 then due[#due + 1], total = raw, total + size end
  end
  for i = #due, 1, -1 do redis.call('RPUSH', inbox, due[i]) end
end
local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local wait = first[2] and tonumber(first[2]) or -1

-- A few at a time: how large an entry is, is only seen once it is read, and of large ones not many may be read in vain.
local LARGE, SOME = 65536, 8
local envelopes, total, some, full = {}, 0, 1, false
if single > 0 then most = 1 elseif takes > 1 and count > 0 then most = math.min(most, count) end
while not handing_out and not full and #envelopes < most and total < bytes do
  local at = #envelopes
  local found = redis.call('LRANGE', inbox, -at - math.min(some, most - at), -at - 1)
  some = math.min(some * 2, SOME)
  for i = #found, 1, -1 do
    local raw = found[i]
    full = #envelopes > 0 and total + #raw > bytes
    if full or #raw > largest then break end
    envelopes[#envelopes + 1], total = raw, total + #raw
    if #raw > LARGE then some = 1 end
  end
  if #envelopes == at and not full then
    -- Nobody reads it whole again.
    if at > 0 or #found == 0 then break end
    redis.call('LMOVE', inbox, invalid, 'RIGHT', 'LEFT')
    large, single, total = large + 1, math.max(0, single - 1), total + #found[#found]
  end
end

count = #envelopes
local left = redis.call('LLEN', inbox) - count
if count == 0 and not handing_out then
  redis.call('DEL', lease)
  return { 0, now, wait, left, aside, large }
end
local fence = next_fence(fences, now)
redis.call('HSET', lease, 'fence', fence, 'until', now + duration, 'takes', takes, 'single', single, 'count', count)
return { fence, now, wait, left, aside, large, unpack(envelopes) }
