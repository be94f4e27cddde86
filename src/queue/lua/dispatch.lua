-- dispatch: hand the envelopes just leased to the listeners that want them, one step of them a call, all or nothing.
-- KEYS 1 inbox LIST  2 dispatch lease HASH  3 inbox_invalid LIST  4 audit STREAM  5 remaining HASH  6 delayed ZSET
--      7 listeners SET  8 fan-out LIST: what is left to hand out of a message, `id 0x1F listener 0x1F listener…` each
--      9 fence counter  10 paused HASH  11 claims not begun ZSET
--      then six for each listener of this step: queue LIST, front LIST, retries ZSET, in flight ZSET, deliveries HASH, breaker HASH
-- ARGV 1 MessagePack of fence, message key prefix, lease ms, number of envelopes, their bytes, how many stay leased after them,
--        queue key prefix, retries key prefix, lease of a delivery ms, from when on none begins (Redis time, ms),
--        list of each listener's name, how many of its deliveries may begin at once, and whether it has a breaker,
--        list of the envelopes, in the order of `take`: kind, and after it
--          `d` (dispatch): id, event (JSON), number of listeners, the number of each
--          `f` (more listeners than one call reaches): id, event (JSON), how many listeners, number of parts, each part
--          `w` (wait for its demora): id, event (JSON), due ms, number of the argument that is the stamped envelope
--          `x` (not understood)
-- →    { now, parts left to hand out, refused, envelopes moved, fence of the deliveries that begin, list of the numbers of
--        envelopes that were no new message, then for each listener: how many begin, the first ones, how many wait, and whether
--        (0|1) nothing waited there before }
--      or { -1 } when the lease was lost: somebody else dispatches these envelopes, or took them away
--
-- Where nothing waits before a delivery and its worker has a slot for it, it is leased here, as by `claim`: it goes neither
-- through the queue nor over the wire a second time.
--
-- A message of kind `f` is the last of its call, and dispatched as a whole when its parts are listed: stored, counted, audited,
-- and out of the inbox. Each call after that hands out one part and looks at no envelope, so that the order in a queue stays
-- that of arrival. Whoever dies in between leaves the list to the next dispatcher, and nobody decides a second time who listens.
--
-- A message whose id is still being delivered: the same bytes are a repeated LPUSH and are dropped, other bytes are set aside.
local inbox, lease, invalid, audit, remaining, delayed, names_seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local parts, fences, paused, not_begun = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local fence, prefix, duration, taken, bytes, stay, queue_prefix, retries_prefix, delivery_lease, begin_until, lanes, items = unpack(cmsgpack.unpack(ARGV[1]))
local wrong = mistyped(1, { 'list', 'hash', 'list', 'stream', 'hash', 'zset', 'set', 'list', 'string', 'hash', 'zset' })
local held = redis.pcall('HMGET', lease, 'fence', 'single')
local ours = tonumber(held[1] or 0) == fence
if wrong then
  -- Nobody died of these envelopes: this does not count as a take without an end, and whoever comes next need not wait.
  if ours then
    allow_when_full(lease)
    redis.call('HSET', lease, 'until', 0, 'takes', 0)
  end
  return redis.error_reply(wrong)
end
allow_when_full(lease)
if not ours then return { -1 } end

local now = clock()
local refused, count, claim, repeated, told, seen = 0, 0, 0, {}, {}, {}

local function hand_out()
  local names, id = {}, nil
  for text in string.gmatch(redis.call('LPOP', parts), '[^\31]+') do
    if id then names[#names + 1] = text else id = text end
  end
  for _, name in ipairs(names) do push(queue_prefix .. name, retries_prefix .. name, { id }, now) end
  redis.call('SADD', names_seen, unpack(names))
end

-- Whether an entry says what the stored one does. One that waited for its `demora` is stored with a stamp of its own in it.
local function is_copy(stored, raw)
  if stored == raw then return true end
  if type(stored) ~= 'string' then return false end
  local stamp, last = string.find(stored, '","demora":null,"no_antes_de":"[^"]*","recibido":%d+')
  local before = stamp and #raw - (#stored - last)
  return stamp ~= nil and before > 0 and string.sub(stored, 1, before) == string.sub(raw, 1, before)
    and string.sub(stored, before + 1, before + 7) == ',"id":"' and before + 7 < stamp
    and string.sub(stored, last + 1) == string.sub(raw, before + 1)
end

-- How many deliveries of a listener may begin: none while anything waits before them, or holds them back.
local function may_begin(name, n, has_breaker, k)
  -- A Redis that had stood still does what was asked of it long ago, and nobody would hear of it.
  if n == 0 or now > begin_until or redis.call('EXISTS', KEYS[k], KEYS[k + 1]) > 0 or mistyped(k + 2, { 'zset', 'zset', 'hash', 'hash' }) then return 0 end
  if redis.call('ZCOUNT', KEYS[k + 2], '-inf', now) > 0 or redis.call('HGET', paused, name) then return 0 end
  local state = redis.call('HGET', KEYS[k + 5], 'state')
  -- After a 410 was released one without a breaker is on trial too.
  if state == 'half' or (state and has_breaker) then return 0 end
  return n
end

local function begin(ids, n, k)
  local states, leases = {}, {}
  for i = 1, n do
    states[i * 2 - 1], states[i * 2] = ids[i], claim
    leases[i * 2 - 1], leases[i * 2] = now + delivery_lease, ids[i]
  end
  redis.call('HSET', KEYS[k + 4], unpack(states))
  redis.call('ZADD', KEYS[k + 3], unpack(leases))
end

-- → false where the envelopes are not those that were leased
local function move()
  local envelopes = redis.call('LRANGE', inbox, -taken, -1)
  for _, raw in ipairs(envelopes) do bytes = bytes - #raw end
  if #envelopes ~= taken or bytes ~= 0 then return false end
  local queued, room = {}, {}
  for number = 1, #lanes / 3 do
    local name = number * 3 - 2
    queued[number], room[number] = {}, may_begin(lanes[name], lanes[name + 1], lanes[name + 2], 6 + number * 6)
    if room[number] > 0 and claim == 0 then claim = next_fence(fences, now) end
  end
  local at = 1
  while at <= #items do
    local kind, id, event, targets = items[at], items[at + 1], items[at + 2], items[at + 3]
    count = count + 1
    local raw = envelopes[taken + 1 - count]
    if kind == 'x' then
      at = at + 1
      redis.call('LPUSH', invalid, raw)
      refused = refused + 1
    else
      local first = at + 4
      if kind == 'w' then
        raw, at = ARGV[items[first]], first + 1
      elseif kind == 'f' then
        at = first + 1 + items[first]
      else
        at = first + targets
      end
      -- Without a listener there is nothing to keep, but the id may still be another message's.
      local fresh
      if targets > 0 then fresh = redis.call('SET', prefix .. id, raw, 'NX') else fresh = redis.call('EXISTS', prefix .. id) == 0 end
      if not fresh then
        repeated[#repeated + 1] = count
        local entry = envelopes[taken + 1 - count]
        if not is_copy(redis.pcall('GET', prefix .. id), entry) then
          redis.call('LPUSH', invalid, entry)
          refused = refused + 1
        end
      else
        if kind == 'w' then
          redis.call('ZADD', delayed, targets, id)
        elseif kind == 'f' then
          redis.call('HSET', remaining, id, targets)
          for part = first + 1, at - 1 do redis.call('RPUSH', parts, items[part]) end
        else
          for i = first, at - 1 do
            local ids = queued[items[i]]
            ids[#ids + 1] = id
          end
          if targets > 1 then redis.call('HSET', remaining, id, targets) end
        end
        tell(audit, 'm', now, event, '', raw)
      end
    end
  end
  for number, ids in ipairs(queued) do
    local k, n, waiting = 6 + number * 6, math.min(room[number], #ids), 0
    if n > 0 then begin(ids, n, k) end
    if #ids > n then waiting = push(KEYS[k], KEYS[k + 2], ids, now, n + 1) end
    if #ids > 0 then seen[#seen + 1] = lanes[number * 3 - 2] end
    told[number * 3 - 2], told[number * 3 - 1], told[number * 3] = n, waiting, waiting == #ids - n and 1 or 0
  end
  if #seen > 0 then redis.call('SADD', names_seen, unpack(seen)) end
  if claim > 0 then note_claim(not_begun, claim, now + delivery_lease) end
  redis.call('LTRIM', inbox, 0, -count - 1)
  return true
end

if redis.call('EXISTS', parts) == 1 then hand_out() elseif taken > 0 and not move() then return { -1 } end
local left, single = redis.call('LLEN', parts), tonumber(held[2] or 0) - count
if left > 0 or stay > 0 then
  redis.call('HSET', lease, 'until', now + duration, 'takes', 1, 'single', math.max(single, 0), 'count', stay)
elseif single > 0 then
  -- The next envelope starts its own count of takes.
  redis.call('HSET', lease, 'until', 0, 'takes', 0, 'single', single, 'count', 0)
else
  redis.call('DEL', lease)
end
return { now, left, refused, count, claim, repeated, unpack(told) }
