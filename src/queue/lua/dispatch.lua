-- dispatch: move the envelopes just taken to the queues of the listeners that want them, all or nothing.
-- KEYS 1 dispatching LIST  2 dispatch lease HASH  3 inbox_invalid LIST  4 audit STREAM  5 remaining HASH  6 delayed ZSET
--      7 listeners SET     then two for each listener in the batch: queue LIST, retries ZSET
-- ARGV 1 fence   2 message key prefix   3 number of listeners L   4… their names, L of them
--      then four for each envelope, in the order of `take`:
--        kind `d` (dispatch), id, event (JSON), listener numbers joined by `,`
--        kind `w` (wait for its demora), id, event (JSON), due ms, and one more: the stamped envelope
--        kind `x` (not understood), '', '', ''
-- →    { now, duplicates, refused } or { -1 } when the lease was lost: somebody else dispatches this batch
--
-- A message whose id is still being delivered: the same bytes are a repeated LPUSH and are dropped, other bytes are set aside.
local batch, lease, invalid, audit, remaining, delayed, names_seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local fence, prefix, listeners = ARGV[1], ARGV[2], tonumber(ARGV[3])
local wrong = mistyped(1, { 'list', 'hash', 'list', 'stream', 'hash', 'zset', 'set' })
if wrong then return redis.error_reply(wrong) end
allow_when_full(lease)
if redis.call('HGET', lease, 'fence') ~= fence then return { -1 } end

local now = clock()
local duplicates, refused, count = 0, 0, 0
local next_arg = 4 + listeners
local envelopes = redis.call('LRANGE', batch, 0, -1)
local queued = {}
for number = 1, listeners do queued[number] = {} end
while next_arg <= #ARGV do
  local kind, id, event, targets = ARGV[next_arg], ARGV[next_arg + 1], ARGV[next_arg + 2], ARGV[next_arg + 3]
  next_arg = next_arg + 4
  count = count + 1
  local raw = envelopes[count]
  if kind == 'w' then
    raw = ARGV[next_arg]
    next_arg = next_arg + 1
  end
  if kind == 'x' then
    redis.call('LPUSH', invalid, raw)
    refused = refused + 1
  else
    -- Without a listener there is nothing to keep, but the id may still be another message's.
    local stored = targets ~= ''
    local fresh
    if stored then fresh = redis.call('SET', prefix .. id, raw, 'NX') else fresh = redis.call('EXISTS', prefix .. id) == 0 end
    if not fresh then
      if redis.pcall('GET', prefix .. id) == raw then
        duplicates = duplicates + 1
      else
        redis.call('LPUSH', invalid, raw)
        refused = refused + 1
      end
    else
      if kind == 'w' then
        redis.call('ZADD', delayed, targets, id)
      elseif stored then
        local fan_out = 0
        for number in string.gmatch(targets, '%d+') do
          fan_out = fan_out + 1
          local ids = queued[tonumber(number)]
          ids[#ids + 1] = id
        end
        if fan_out > 1 then redis.call('HSET', remaining, id, fan_out) end
      end
      tell(audit, 'm', now, event, '', raw)
    end
  end
end
for number, ids in ipairs(queued) do
  if #ids > 0 then
    push(KEYS[6 + number * 2], KEYS[7 + number * 2], ids, now)
    redis.call('SADD', names_seen, ARGV[3 + number])
  end
end
redis.call('LTRIM', batch, count, -1)
if count >= #envelopes then
  redis.call('DEL', lease)
else
  -- The next envelope starts its own count of takes.
  redis.call('HSET', lease, 'until', 0, 'takes', 0)
end
return { now, duplicates, refused }
