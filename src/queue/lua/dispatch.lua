-- dispatch: move the envelopes just taken to the queues of the listeners that want them, one step of them a call, all or nothing.
-- KEYS 1 dispatching LIST  2 dispatch lease HASH  3 inbox_invalid LIST  4 audit STREAM  5 remaining HASH  6 delayed ZSET
--      7 listeners SET  8 fan-out LIST: what is left to hand out of a message, `id 0x1F listener 0x1F listener…` each
--      then two for each listener of this step: queue LIST, retries ZSET
-- ARGV 1 fence   2 message key prefix   3 lease, ms   4 1 when the caller goes on with more envelopes, else 0
--      5 queue key prefix   6 retries key prefix   7 number of envelopes   8 number of listeners L   9… their names, L of them
--      then four for each envelope, in the order of `take`:
--        kind `d` (dispatch), id, event (JSON), listener numbers joined by `,`
--        kind `f` (more listeners than one call reaches), id, event (JSON), how many listeners, number of parts N, and N more: the parts
--        kind `w` (wait for its demora), id, event (JSON), due ms, and one more: the stamped envelope
--        kind `x` (not understood), '', '', ''
-- →    { now, duplicates, refused, envelopes moved, parts left to hand out }
--      or { -1 } when the lease was lost: somebody else dispatches this batch
--
-- A message of kind `f` is dispatched as a whole when its parts are listed: stored, counted, audited, and out of the batch. Each
-- call after that hands out one part and looks at no envelope, so that the order in a queue stays that of arrival. Whoever
-- dies in between leaves the list to the next dispatcher, and nobody decides a second time who listens.
--
-- A message whose id is still being delivered: the same bytes are a repeated LPUSH and are dropped, other bytes are set aside.
local batch, lease, invalid, audit, remaining, delayed, names_seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local parts = KEYS[8]
local fence, prefix, duration, goes_on, taken, listeners = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1', tonumber(ARGV[7]), tonumber(ARGV[8])
local wrong = mistyped(1, { 'list', 'hash', 'list', 'stream', 'hash', 'zset', 'set', 'list' })
if wrong then return redis.error_reply(wrong) end
allow_when_full(lease)
if redis.call('HGET', lease, 'fence') ~= fence then return { -1 } end

local now = clock()
local duplicates, refused, count = 0, 0, 0

local function hand_out()
  local names, id = {}, nil
  for text in string.gmatch(redis.call('LPOP', parts), '[^\31]+') do
    if id then names[#names + 1] = text else id = text end
  end
  for _, name in ipairs(names) do push(ARGV[5] .. name, ARGV[6] .. name, { id }, now) end
  redis.call('SADD', names_seen, unpack(names))
end

local function move()
  local next_arg = 9 + listeners
  local envelopes = redis.call('LRANGE', batch, 0, taken - 1)
  local queued = {}
  for number = 1, listeners do queued[number] = {} end
  while next_arg <= #ARGV do
    local kind, id, event, targets = ARGV[next_arg], ARGV[next_arg + 1], ARGV[next_arg + 2], ARGV[next_arg + 3]
    next_arg = next_arg + 4
    count = count + 1
    local raw = envelopes[count]
    local first_part, last_part = next_arg + 1, next_arg
    if kind == 'w' then
      raw = ARGV[next_arg]
      next_arg = next_arg + 1
    elseif kind == 'f' then
      last_part = next_arg + tonumber(ARGV[next_arg])
      next_arg = last_part + 1
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
        elseif kind == 'f' then
          redis.call('HSET', remaining, id, targets)
          for at = first_part, last_part do redis.call('RPUSH', parts, ARGV[at]) end
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
      push(KEYS[7 + number * 2], KEYS[8 + number * 2], ids, now)
      redis.call('SADD', names_seen, ARGV[8 + number])
    end
  end
  redis.call('LTRIM', batch, count, -1)
end

if redis.call('EXISTS', parts) == 1 then hand_out() elseif taken > 0 then move() end
local left = redis.call('LLEN', parts)
if left == 0 and redis.call('EXISTS', batch) == 0 then
  redis.call('DEL', lease)
elseif left > 0 or goes_on then
  redis.call('HSET', lease, 'until', now + duration, 'takes', 1)
else
  -- The next envelope starts its own count of takes.
  redis.call('HSET', lease, 'until', 0, 'takes', 0)
end
return { now, duplicates, refused, count, left }
