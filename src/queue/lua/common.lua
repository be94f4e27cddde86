-- Shared by every script: this text is put in front of each of them.

-- Redis's own clock, ms since epoch: the only clock that decides about due times and leases.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- With full memory (noeviction) a script may go on only once it has written something that needs no memory. The workers'
-- scripts free memory in the end, so each begins with such a write; `send` must not.
local function allow_when_full(key)
  redis.call('HDEL', key, '')
end

-- Scripts do not roll back: a key of another type, met half-way, leaves half of the work done. So each asks about its keys
-- before its first write. → what is wrong with the first one that is not what it should be, nil where nothing is
local function mistyped(from, kinds)
  for i, kind in ipairs(kinds) do
    local key = KEYS[from + i - 1]
    local is = redis.call('TYPE', key).ok
    if is ~= kind and is ~= 'none' then return 'WRONGTYPE ' .. key .. ' ' .. is .. ' ' .. kind end
  end
end

-- A lane's keys: queue, in flight, deliveries, retries, failed, breaker, rate, front.
local LANE = { 'list', 'zset', 'hash', 'zset', 'zset', 'hash', 'hash', 'list' }

-- A lane's list has a front as long as `sift` walks through it, or when that was cut short: claims take from there first.
local function pop(front, queue, n)
  local ids = redis.call('LPOP', front, n) or {}
  if #ids < n then
    for _, id in ipairs(redis.call('LPOP', queue, n - #ids) or {}) do ids[#ids + 1] = id end
  end
  return ids
end

-- Where that which comes first is put back.
local function head(front, queue)
  return redis.call('EXISTS', front) == 1 and front or queue
end

-- Deliveries that wait for their turn, from the given one on. While somebody has made something else of the lane's list they
-- wait among the retries, due at once, which `claim` tells; where those are no set either, they are only counted, and
-- `recuperar` puts them back. → how many wait now
local function push(queue, retries, ids, now, from)
  local is = redis.call('TYPE', queue).ok
  if is == 'list' or is == 'none' then return redis.call('RPUSH', queue, unpack(ids, from or 1)) end
  local flat = {}
  -- A thousandth apart: in their order.
  for i = from or 1, #ids do flat[#flat + 1], flat[#flat + 2] = now + i / 1000, ids[i] end
  redis.pcall('ZADD', retries, unpack(flat))
  return #ids
end

-- State of a delivery that was claimed at least once: `made:number:expiries:version:fence`, or the fence alone where all the
-- rest is 0, as for most.
--   made      attempts that count for the strategy       number   the last attempt number given out
--   expiries  leases lost in a row without an outcome    version  rises with every audited change
--   fence     of the claim that holds it now, 0 = nobody's, -1 = written by a version to come: it is left as it is
local function parse_state(text)
  if not text then return 0, 0, 0, 0, 0 end
  local first, number, expiries, version, fence = string.match(text, '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
  if not first then return 0, 0, 0, 0, string.match(text, '^%d+$') and tonumber(text) or -1 end
  return tonumber(first), tonumber(number), tonumber(expiries), tonumber(version), tonumber(fence)
end

local function state_of(made, number, expiries, version, fence)
  if made == 0 and number == 0 and expiries == 0 and version == 0 then return string.format('%d', fence) end
  return string.format('%d:%d:%d:%d:%d', made, number, expiries, version, fence)
end

-- A new fence: higher than all before it, and Redis's time in µs, so that each one also tells when it was made.
local function next_fence(key, now)
  local fence = math.max(tonumber(redis.call('GET', key) or 0) + 1, now * 1000)
  redis.call('SET', key, string.format('%d', fence))
  return fence
end

-- Longer than from a dispatcher's fence to the last message that it dispatches, ms.
local A_DISPATCH = 60000

-- Version of a change: Redis's time, so that it grows also where Redis lost its last seconds and counts from an older one. Where the
-- clock was put back since the fence was made, it is after what happened before: the audit would take it for an earlier round's.
local function next_version(version, now, fence)
  local made = math.floor((fence or 0) / 1000)
  return math.max(version + 1, made > now and made + A_DISPATCH or now)
end

local function read_state(key, id)
  return parse_state(redis.call('HGET', key, id))
end

local function write_state(key, id, made, number, expiries, version, fence)
  redis.call('HSET', key, id, state_of(made, number, expiries, version, fence))
end

-- The fence of a claim, with the end of its leases: noted until its worker has told that the claim arrived (`begin`), and before
-- that no request is made. What a worker that died in between leaves here is in nobody's way, and not kept for ever.
local function note_claim(not_begun, fence, lease_end)
  redis.call('ZADD', not_begun, lease_end, fence)
  redis.call('ZREMRANGEBYRANK', not_begun, 0, -10001)
end

-- One delivery of the message has ended; the body goes with the last one.
local function release_body(remaining, prefix, id)
  if redis.call('HEXISTS', remaining, id) == 1 then
    if redis.call('HINCRBY', remaining, id, -1) > 0 then return end
    redis.call('HDEL', remaining, id)
  end
  redis.call('UNLINK', prefix .. id)
end

-- `state|version|attempts|next|reason` of an audit event; next '' = none.
local function state_text(state, version, attempts, due, reason)
  return state .. '|' .. string.format('%d', version) .. '|' .. attempts .. '|' .. (due and string.format('%d', due) or '') .. '|' .. reason
end

-- An event of the audit, as `audit-format.ts` reads it: `type`, `at json`, a line feed, `state`; and the envelope of a message.
-- One long field rather than many short ones: each of those costs its reader a string. The number of the format is the first
-- member of the JSON: of an array it is there, of an object it is put there. Put together in one step: each step copies all of it.
local function tell(stream, kind, at, json, state, envelope)
  at = string.format('%d ', at)
  local text
  if string.byte(json) == 91 then text = at .. json .. '\n' .. state else text = at .. '{"v":2,' .. string.sub(json, 2) .. '\n' .. state end
  if envelope then
    redis.call('XADD', stream, '*', kind, text, 'e', envelope)
  else
    redis.call('XADD', stream, '*', kind, text)
  end
end

-- Id of the callback that tells of a delivery's end: of that change of it, and of no other. Its blank, which no message's id
-- has, keeps its job out of reach of messages, whatever they call themselves; a worker of the version before, whose ids have
-- none, works on both.
local function callback_id(id, listener, version)
  return 'callback ' .. id .. '~' .. listener .. '~' .. string.format('%d', version)
end

-- A callback is a delivery of the callback lane: its body is the job. The same id is never queued twice.
local function queue_callback(queue, retries, prefix, id, job)
  if redis.call('SET', prefix .. id, job, 'NX') then push(queue, retries, { id }, clock()) end
end

-- Id of the audit row of an attempt whose outcome never came.
local function lost_attempt_id(id, listener, number)
  return id .. '~' .. listener .. '~' .. string.format('%d', number)
end
